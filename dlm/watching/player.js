"use strict";
// Plays traces (dlm-trace/1): every element .player whose data-trace names a script element with one.
(() => {
  const MASK = "▒", SPECIAL = "·", DELAY = 200;

  function textsAfter(trace, number) {
    const texts = [];
    for (const frame of trace.frames.slice(0, number + 1)) {
      while (texts.length < frame.length) texts.push(null);
      for (const place of frame.reopened) texts[place] = null;
      for (const [place, text] of frame.written) texts[place] = text;
    }
    return texts;
  }

  function button(label, name, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = label;
    made.setAttribute("aria-label", name);
    made.addEventListener("click", act);
    return made;
  }

  function player(root) {
    const trace = JSON.parse(document.getElementById(root.dataset.trace).textContent);
    const special = new Set(trace.special), last = trace.frames.length - 1;
    const answer = document.createElement("pre"), status = document.createElement("p");
    const slider = document.createElement("input"), controls = document.createElement("div");
    let now = last, timer = null;
    answer.className = "answer";
    status.className = "status";
    controls.className = "controls";
    Object.assign(slider, { type: "range", min: 0, max: last, step: 1 });
    slider.setAttribute("aria-label", "step");

    function draw() {
      const frame = trace.frames[now], written = new Set(now ? frame.written.map(([place]) => place) : []);
      const texts = textsAfter(trace, now);
      answer.replaceChildren(...texts.map((text, place) => {
        const cell = document.createElement("span");
        cell.textContent = text === null ? MASK : special.has(text) ? SPECIAL : text.replaceAll("\n", "↵\n");
        cell.className = text === null ? "masked" : written.has(place) ? "new" : special.has(text) ? "special" : "";
        return cell;
      }));
      const count = texts.filter((text) => text !== null).length;
      const passes = `${frame.passes} forward ${frame.passes === 1 ? "pass" : "passes"}`;
      const rates = frame.passes ? `, ${(count / frame.passes).toFixed(2)} a pass` : "";
      const speed = frame.seconds > 0 ? `, ${Math.round(count / frame.seconds)} a second` : "";
      status.textContent = `step ${now} of ${last} · ${passes} · ${count} of ${texts.length} tokens${rates}${speed}`;
      slider.value = now;
      slider.setAttribute("aria-valuetext", status.textContent);
    }
    function go(number) { now = Math.min(last, Math.max(0, number)); draw(); }
    function pause() {
      clearInterval(timer);
      timer = null;
      toggle.textContent = "▶";
      toggle.setAttribute("aria-label", "play");
    }
    function play() {
      if (now === last) go(0);
      timer = setInterval(() => { go(now + 1); if (now === last) pause(); }, DELAY);
      toggle.textContent = "❚❚";
      toggle.setAttribute("aria-label", "pause");
    }
    const by = (steps) => () => { pause(); go(now + steps); };
    const toggle = button("▶", "play", () => (timer === null ? play() : pause()));
    controls.append(button("|◀", "first step", by(-Infinity)), button("‹", "step back", by(-1)), toggle,
      button("›", "step forward", by(1)), button("▶|", "last step", by(Infinity)), slider);
    slider.addEventListener("input", () => { pause(); go(Number(slider.value)); });
    const keys = { ArrowLeft: by(-1), ArrowRight: by(1), Home: by(-Infinity), End: by(Infinity), " ": () => toggle.click() };
    const only = document.querySelectorAll(".player").length === 1;
    (only ? document : root).addEventListener("keydown", (event) => {
      const act = keys[event.key], on = event.target;
      if (!act || event.altKey || event.ctrlKey || event.metaKey) return;
      if (event.key === " " && (on.tagName === "BUTTON" || on.tagName === "SUMMARY")) return; // its own key
      event.preventDefault();
      act();
    });
    root.append(answer, status, controls);
    draw();
  }

  document.querySelectorAll(".player[data-trace]").forEach(player);
})();
