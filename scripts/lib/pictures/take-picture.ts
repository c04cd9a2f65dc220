import type { Page } from "../browser/page.ts";

/** In CSS pixels. */
export interface PictureSize {
  readonly width: number;
  readonly height: number;
}

/** Makes a page as large as a picture, in light or dark. */
export async function dressPage(
  page: Page,
  { width, height, scheme }: PictureSize & { readonly scheme: "light" | "dark" },
): Promise<void> {
  await page.command("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: false });
  await page.command("Emulation.setScrollbarsHidden", { hidden: true });
  const features = [{ name: "prefers-color-scheme", value: scheme }];
  await page.command("Emulation.setEmulatedMedia", { features });
}

/** The page as a PNG. */
export async function takePicture(page: Page): Promise<Buffer> {
  // Two frames: the first can still be of the size before.
  await page.evaluate(
    "globalThis.frames2 = 0, requestAnimationFrame(() => requestAnimationFrame(() => (frames2 = 1)))",
  );
  await page.settle("frames2", (frames) => frames === 1);
  return await page.screenshot();
}
