import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import type { Browser } from "../../scripts/lib/browser/browser.ts";
import type { Page } from "../../scripts/lib/browser/page.ts";

const AXE = readFileSync(fileURLToPath(import.meta.resolve("axe-core/axe.min.js")), "utf8");

/** Notes what the page's own policy forbids it, from the first line of it. */
const WATCH_POLICY = `globalThis.violations = [];
document.addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));`;

/** Opens the dashboard and waits for its first numbers. */
export async function openDashboard(browser: Browser, adminPort: number): Promise<Page> {
  const page = await browser.open(`http://127.0.0.1:${adminPort}/`, { script: WATCH_POLICY });
  await page.settle(`document.querySelector("#phase")?.textContent ?? ""`, (text) => text !== "");
  return page;
}

/** The text of the first element, as it is shown; empty: there is no such element. */
export async function textOf(page: Page, selector: string): Promise<string> {
  return String(await page.evaluate(`document.querySelector(${JSON.stringify(selector)})?.innerText ?? ""`));
}

/** Waits until the text of the first element is as wanted, and gives it, wanted or not. */
export async function settleText(page: Page, selector: string, isDone: (text: string) => boolean): Promise<string> {
  const expression = `document.querySelector(${JSON.stringify(selector)})?.innerText ?? ""`;
  return String(await page.settle(expression, (text) => isDone(String(text))));
}

/** What axe finds wrong with the page: rule and element, one in a line. */
export async function findBarriers(page: Page): Promise<string> {
  await page.evaluate(`globalThis.axe ?? (() => { ${AXE} })(), true`);
  await page.evaluate(`globalThis.barriers = undefined; void axe.run().then(({ violations, passes }) => {
    const found = violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) =>
      id + " " + target.join(" ") + " " + failureSummary));
    globalThis.barriers = passes.length === 0 ? "axe looked at nothing" : found.join("\\n");
  }, (error) => { globalThis.barriers = "axe fails: " + error; })`);
  const barriers = await page.settle("globalThis.barriers ?? null", (found) => found !== null);
  return String(barriers);
}
