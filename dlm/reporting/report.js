"use strict";
// Finds cells, goes from one to the next by keys, opens what a link leads to. The page reads well without it.
(() => {
  const cells = [...document.querySelectorAll("details.cell")];
  const find = document.getElementById("find"), found = document.getElementById("found");
  const names = cells.map((cell) => cell.querySelector("summary code").textContent.toLowerCase());

  find.addEventListener("input", () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    cells.forEach((cell, place) => {
      cell.hidden = !words.every((word) => names[place].includes(word));
      count += cell.hidden ? 0 : 1;
    });
    found.textContent = words.length ? `${count} of ${cells.length} cells` : "";
  });
  document.getElementById("steps").addEventListener("change", (event) => {
    document.body.classList.toggle("plain", !event.target.checked);
  });

  function go(steps) {
    const shown = cells.filter((cell) => !cell.hidden);
    const now = shown.findIndex((cell) => cell.contains(document.activeElement));
    const next = now < 0 ? (steps > 0 ? 0 : shown.length - 1) : now + steps;
    const summary = shown[Math.min(Math.max(next, 0), shown.length - 1)]?.querySelector("summary");
    summary?.focus();
    summary?.scrollIntoView({ block: "nearest" });
  }
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.target.tagName === "INPUT") { if (event.key === "Escape") event.target.blur(); return; }
    const act = { "/": () => find.focus(), n: () => go(1), p: () => go(-1) }[event.key];
    if (act) { event.preventDefault(); act(); }
  });

  function open() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target?.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); target.querySelector("summary").focus(); }
  }
  addEventListener("hashchange", open);
  open();
})();
