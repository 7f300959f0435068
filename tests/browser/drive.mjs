// Drives Chromium through the steps of a scenario, the way a person would, and tells what was seen.
//
//   node drive.mjs <folder of node_modules> <chromium>  < scenario.json  > report.json
//
// A scenario is a list of steps, each an object with one key:
//   {"open": address}             go there
//   {"see": text}                 wait until the text is visible
//   {"find": selector}            wait until such an element is visible
//   {"gone": selector}            wait until no such element is visible
//   {"click": text}               click what has this text or label
//   {"tick": text}                tick the box of the table row with this text
//   {"press": key}                press a key, such as ArrowRight
//   {"size": "360x640"}           make the window so large
//   {"type": text}                type it where the focus is
//   {"fits": ""}                  report whether nothing is wider than the window
//   {"end": selector}             scroll the element to its end
//   {"count": selector}           report how many elements there are
//   {"read": selector}            report the visible text of the element
//   {"row": selector}             report the texts of the elements as they stand, from left to right (a grid's are in any order)
//   {"shot": path}                keep a screenshot
// The report: {"read": [...], "count": [...], "fits": [...], "elsewhere": [addresses that were asked and are not the page's own server]}.

import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const [modules, executablePath] = process.argv.slice(2);
const { chromium } = createRequire(`${modules}/`)("playwright-core");
const steps = JSON.parse(await text(process.stdin));
const report = { read: [], count: [], fits: [], elsewhere: [] };
const home = new URL(steps.find((step) => step.open).open).host;

// Root has no sandbox; a container's /dev/shm is small.
const patience = 240_000; // a busy machine starts and draws slowly
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"], timeout: patience });
const page = await browser.newPage({ viewport: { width: 1600, height: 900 } });
page.setDefaultTimeout(patience);
page.on("request", (request) => {
  const { protocol, host } = new URL(request.url());
  if (protocol.startsWith("http") && host !== home) report.elsewhere.push(request.url());
});
await page.addInitScript(() => localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true"));

const does = {
  open: (address) => page.goto(address),
  see: (what) => page.getByText(what).filter({ visible: true }).first().waitFor(),
  find: (selector) => page.locator(selector).filter({ visible: true }).first().waitFor(),
  gone: (selector) => page.locator(selector).filter({ visible: true }).first().waitFor({ state: "hidden" }),
  click: (what) => page.getByText(what, { exact: true }).or(page.getByLabel(what, { exact: true })).first().click(),
  tick: async (what) => {
    const row = await page.locator(".ag-row", { hasText: what }).first().getAttribute("row-index");
    await page.locator(`.ag-row[row-index="${row}"] input[type=checkbox]`).first().check();
  },
  press: (key) => page.keyboard.press(key),
  type: (what) => page.keyboard.type(what),
  fits: async () => report.fits.push(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)),
  size: (what) => page.setViewportSize(Object.fromEntries(what.split("x").map((n, i) => [["width", "height"][i], Number(n)]))),
  end: (selector) => page.locator(selector).first().evaluate((box) => box.scrollTo(0, box.scrollHeight)),
  count: async (selector) => report.count.push(await page.locator(selector).count()),
  row: async (selector) => report.read.push(await page.locator(selector).evaluateAll((cells) =>
    cells.map((cell) => [cell.getBoundingClientRect().left, cell.innerText.trim()]).sort((a, b) => a[0] - b[0]).map((cell) => cell[1]))),
  read: async (selector) => report.read.push(await page.locator(selector).first().innerText()),
  shot: async (path) => {
    await page.waitForTimeout(1000); // charts are drawn
    await page.screenshot({ path });
  },
};

try {
  for (const step of steps) {
    const [[verb, what]] = Object.entries(step);
    try {
      await does[verb](what);
    } catch (error) {
      await page.screenshot({ path: "failed.png" });
      throw new Error(`step ${JSON.stringify(step)}: ${error.message}\n${await page.innerText("body")}`);
    }
  }
} finally {
  await browser.close();
}
console.log(JSON.stringify(report));
