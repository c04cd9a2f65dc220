// connect.mjs ENDPOINT HEADERS: uses a browser over the DevTools protocol with Playwright, as a script of a person does.
import { chromium } from "playwright-core";

const [endpoint, headers] = process.argv.slice(2);
const browser = await chromium.connectOverCDP(endpoint, { headers: JSON.parse(headers) });
const context = await browser.newContext();
const page = await context.newPage();
await page.setContent("<button onclick=\"this.textContent = 'pressed'\">press</button>");
await page.click("button");
const text = await page.textContent("button");
const picture = await page.screenshot();
await context.close();
await browser.close();
console.log(`button: ${text}, picture: ${picture.subarray(1, 4).toString()}`);
process.exit(0);
