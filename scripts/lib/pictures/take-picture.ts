import type { BrowserPage } from "../chromium.ts";

/** In CSS pixels. */
export interface PictureSize {
  readonly width: number;
  readonly height: number;
}

/** Makes a page as large as a picture, in light or dark. */
export async function dressPage(
  page: BrowserPage,
  { width, height, scheme }: PictureSize & { readonly scheme: "light" | "dark" },
): Promise<void> {
  await page.command("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: false });
  await page.command("Emulation.setScrollbarsHidden", { hidden: true });
  const features = [{ name: "prefers-color-scheme", value: scheme }];
  await page.command("Emulation.setEmulatedMedia", { features });
}

/** The page as a PNG. */
export async function takePicture(page: BrowserPage): Promise<Buffer> {
  // Two frames: the first can still be of the size before.
  await page.evaluate(
    "globalThis.frames2 = 0, requestAnimationFrame(() => requestAnimationFrame(() => (frames2 = 1)))",
  );
  await page.settle("frames2", (frames) => frames === 1);
  const shot = await page.command("Page.captureScreenshot", { format: "png", optimizeForSpeed: false });
  const data: unknown = typeof shot === "object" && shot !== null && "data" in shot ? shot.data : undefined;
  if (typeof data !== "string") throw new Error("the browser gives no picture");
  return Buffer.from(data, "base64");
}
