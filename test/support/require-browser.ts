import { findChromium, GET_CHROMIUM } from "../../scripts/lib/browser/chromium.ts";
import { requirePart } from "./requires.ts";

/** Whether this machine has a browser, for `test.skipIf(!requireBrowser())`. Throws with CI=true where it has none. */
export function requireBrowser(): boolean {
  return requirePart("a Chromium browser", { get: GET_CHROMIUM, isPresent: () => findChromium() !== undefined });
}
