// pictures.ts: takes the pictures of docs/images; `scripts/pictures` calls it.
import { join } from "node:path";

import { type Browser, startBrowser } from "./lib/browser/browser.ts";
import { type PictureStage, startPictureStage } from "./lib/pictures/picture-stage.ts";
import { dressPage, takePicture } from "./lib/pictures/take-picture.ts";

const IMAGES = join(import.meta.dir, "../docs/images");
/** So that the pictures load quickly, and the repository stays small. */
const PICTURE_MAX_BYTES = 200_000;
/** Until the chart is full, in milliseconds. */
const TRAFFIC_MS = 62_000;

const DASHBOARD = { width: 1_280, height: 1_180 };
const REFUSAL = { width: 760, height: 480 };

async function save(name: string, picture: Buffer): Promise<void> {
  if (picture.length > PICTURE_MAX_BYTES) throw new Error(`${name} has ${picture.length} bytes`);
  await Bun.write(join(IMAGES, name), picture);
  console.log(`docs/images/${name}: ${Math.round(picture.length / 1_000)} KB`);
}

async function takeDashboard(browser: Browser, stage: PictureStage): Promise<void> {
  await using page = await browser.open(`${stage.ingress.adminOrigin}/`);
  await dressPage(page, { ...DASHBOARD, scheme: "light" });
  await page.settle("document.querySelectorAll('#rows tr').length", (rows) => Number(rows) > 1);
  await Bun.sleep(Math.max(0, TRAFFIC_MS - performance.now()));
  await save("dashboard-light.png", await takePicture(page));
  await dressPage(page, { ...DASHBOARD, scheme: "dark" });
  await save("dashboard-dark.png", await takePicture(page));
}

async function takeRefusals(browser: Browser, stage: PictureStage): Promise<void> {
  const { ingress, ready, starting, deadPort, sandboxPort } = stage;
  const port = new URL(ingress.origin).port;
  const pages = [
    { name: "refusal-port.png", route: `${ready}-${deadPort}`, scheme: "light" },
    { name: "refusal-not-ready.png", route: `${starting}-${sandboxPort}`, scheme: "light" },
    { name: "refusal-not-found.png", route: `gone-${sandboxPort}`, scheme: "dark" },
  ] as const;
  for (const { name, route, scheme } of pages) {
    await using page = await browser.open(`http://${route}.localhost:${port}/`);
    await dressPage(page, { ...REFUSAL, scheme });
    await page.settle(`document.querySelector("h1")?.textContent ?? ""`, (text) => text !== "");
    await save(name, await takePicture(page));
  }
}

await using browser = await startBrowser();
await using stage = await startPictureStage();
await takeRefusals(browser, stage);
await takeDashboard(browser, stage);
