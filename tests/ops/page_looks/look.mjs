// Opens answers of ours in Chromium as they were given, headers and all: a picture of each, and what axe-core finds.
// Arguments: a JSON file of {name: {status, headers, body}}, a folder for the pictures, Chromium. Writes findings to stdout.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [, , given, pictures, executablePath] = process.argv;
const pages = JSON.parse(readFileSync(given, "utf8"));
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const SERIOUS = ["serious", "critical"];
const findings = [];

// By keyboard alone: Tab reaches everything that a mouse reaches, and shows where it is.
const TABBED = "a[href], button, input:not([type=hidden]), select, textarea, summary";
async function tabThrough(page, say) {
  const all = await page.evaluate((what) => {
    const seen = [...document.querySelectorAll(what)].filter((element) => element.checkVisibility());
    seen.forEach((element, place) => (element.dataset.place = place));
    return seen.map((element) => element.outerHTML.slice(0, 120));
  }, TABBED);
  const reached = new Set();
  for (let tabs = 0; tabs < 4 * all.length + 10 && reached.size < all.length; tabs++) {
    await page.keyboard.press("Tab"); // a field of date and time takes several
    const { place, style, width } = await page.evaluate(() => {
      const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
      return { place: document.activeElement.dataset.place, style: outlineStyle, width: parseFloat(outlineWidth) };
    });
    if (place === undefined || reached.has(place)) continue;
    reached.add(place);
    if (style === "none" || width === 0) say(`focus is not seen: ${all[place]}`);
  }
  all.forEach((html, place) => reached.has(`${place}`) || say(`not reached by keyboard: ${html}`));
  await page.evaluate(() => document.activeElement.blur());
}

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
for (const width of [375, 1440, 1920])
  for (const colorScheme of ["light", "dark"]) {
    const context = await browser.newContext({ viewport: { width, height: 800 }, colorScheme, javaScriptEnabled: true, serviceWorkers: "block" });
    for (const [name, answer] of Object.entries(pages)) {
      if (width === 1920 && !name.startsWith("desk")) continue; // a wide screen stands in the office only
      const page = await context.newPage();
      const say = (text) => findings.push(`${name} ${width} ${colorScheme}: ${text}`);
      page.on("console", (message) => message.type() === "error" && !/status of [45]/.test(message.text()) && say(message.text()));
      page.on("requestfailed", (request) => say(`asks for ${request.url()}`));
      await page.route("**", (route) =>
        new URL(route.request().url()).pathname === "/favicon.ico"
          ? route.fulfill({ status: 204 })
          : route.fulfill({ status: answer.status, headers: answer.headers, body: answer.body }),
      );
      await page.goto("https://page.test/");
      const { scrollWidth } = await page.evaluate(() => ({ scrollWidth: document.documentElement.scrollWidth }));
      if (scrollWidth > width) say(`${scrollWidth} px wide`);
      if (width === 1440 && colorScheme === "light") await tabThrough(page, say);
      await page.screenshot({ path: join(pictures, `${name}-${width}-${colorScheme}.png`), fullPage: true });
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => window.axe.run());
      for (const { id, impact, nodes } of violations)
        if (SERIOUS.includes(impact)) say(`${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join("; ")}`);
      await page.close();
    }
    await context.close();
  }
await browser.close();
console.log(JSON.stringify(findings));
