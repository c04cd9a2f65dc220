import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { type BrowserPage, openPage } from "../../scripts/lib/chromium.ts";

const AXE = readFileSync(fileURLToPath(import.meta.resolve("axe-core/axe.min.js")), "utf8");

/** Notes what the page's own policy forbids it, from the first line of it. */
const WATCH_POLICY = `globalThis.violations = [];
document.addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));`;

/** The keys that a keyboard has for moving. The browser wants their names, numbers and texts. */
const KEYS = {
  Tab: { key: "Tab", code: "Tab", windowsVirtualKeyCode: 9 },
  Enter: { key: "Enter", code: "Enter", windowsVirtualKeyCode: 13, text: "\r" },
} as const;

/** Opens the dashboard and waits for its first numbers. */
export async function openDashboard(adminPort: number): Promise<BrowserPage> {
  const page = await openPage("about:blank");
  await page.command("Page.enable");
  await page.command("Page.addScriptToEvaluateOnNewDocument", { source: WATCH_POLICY });
  await page.command("Page.navigate", { url: `http://127.0.0.1:${adminPort}/` });
  await page.settle(`document.querySelector("#phase")?.textContent ?? ""`, (text) => text !== "");
  return page;
}

export async function press(page: BrowserPage, name: keyof typeof KEYS): Promise<void> {
  await page.command("Input.dispatchKeyEvent", { type: "keyDown", ...KEYS[name] });
  await page.command("Input.dispatchKeyEvent", { type: "keyUp", ...KEYS[name] });
}

/** Types into what has the focus. */
export async function type(page: BrowserPage, text: string): Promise<void> {
  await page.command("Input.insertText", { text });
}

/** The text of the first element, as it is shown; empty: there is no such element. */
export async function textOf(page: BrowserPage, selector: string): Promise<string> {
  return String(await page.evaluate(`document.querySelector(${JSON.stringify(selector)})?.innerText ?? ""`));
}

/** Waits until the text of the first element is as wanted, and gives it, wanted or not. */
export async function settleText(
  page: BrowserPage,
  selector: string,
  isDone: (text: string) => boolean,
): Promise<string> {
  const expression = `document.querySelector(${JSON.stringify(selector)})?.innerText ?? ""`;
  return String(await page.settle(expression, (text) => isDone(String(text))));
}

/** What axe finds wrong with the page: rule and element, one in a line. */
export async function findBarriers(page: BrowserPage): Promise<string> {
  await page.evaluate(`globalThis.axe ?? (() => { ${AXE} })(), true`);
  await page.evaluate(`globalThis.barriers = undefined; void axe.run().then(({ violations, passes }) => {
    const found = violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) =>
      id + " " + target.join(" ") + " " + failureSummary));
    globalThis.barriers = passes.length === 0 ? "axe looked at nothing" : found.join("\\n");
  }, (error) => { globalThis.barriers = "axe fails: " + error; })`);
  const barriers = await page.settle("globalThis.barriers ?? null", (found) => found !== null);
  return String(barriers);
}
