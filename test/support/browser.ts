import { requirePart } from "./requires.ts";
import { tempDir } from "./temp-dir.ts";

const NAMES = ["chromium", "chromium-browser", "google-chrome"] as const;
const browser = NAMES.find((name) => Bun.which(name) !== null);

export const hasBrowser = requirePart("a Chromium browser", {
  get: "apt-get install chromium",
  isPresent: () => browser !== undefined,
});

/** How long a browser may run, in milliseconds: a first start on a busy machine, and a page. */
export const BROWSER_MAX_MS = 90_000;

/** A browser without a window. */
export interface BrowserRun extends AsyncDisposable {
  /** Its standard output, when it has ended by itself. */
  text(): Promise<string>;
}

/** Opens a page in a browser with a fresh profile. Disposing of it kills the browser. */
export function openBrowser(url: string, ...flags: readonly string[]): BrowserRun {
  const profile = tempDir();
  const child = Bun.spawn(
    [
      browser ?? "chromium",
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      `--user-data-dir=${profile.path}`,
      ...flags,
      url,
    ],
    { stdin: "ignore", stdout: "pipe", stderr: "ignore", timeout: BROWSER_MAX_MS },
  );
  return {
    text: () => child.stdout.text(),
    async [Symbol.asyncDispose]() {
      child.kill();
      await child.exited;
      profile[Symbol.dispose]();
    },
  };
}
