import { startServerProcess, type ServerProcess } from "../../../scripts/lib/server-process.ts";
import { requirePart } from "../requires.ts";
import { tempDir } from "../temp-dir.ts";
import { connectCdp, toRecord, type CdpClient } from "./cdp-client.ts";
import { openPage, type OpenOptions, type Page } from "./page.ts";

const BROWSERS = ["chromium", "chromium-browser", "google-chrome"] as const;
/** Names below it lead to this machine, in the browser and in the clients that tests start; no DNS knows it (RFC 6761 §6.2). */
export const HOST_SUFFIX = "apps.test";
/** The same, and a browser trusts these names without TLS as others with it (Secure Contexts §3.1). */
export const SECURE_HOST_SUFFIX = "localhost";

/** The browser's program; undefined: this machine has none. */
function findChromium(): string | undefined {
  return BROWSERS.find((name) => Bun.which(name) !== null);
}

/** Whether this machine has a browser, for `test.skipIf(!requireBrowser())`. Throws with CI=true where it has none. */
export function requireBrowser(): boolean {
  return requirePart("a Chromium browser", {
    get: "apt-get install chromium",
    isPresent: () => findChromium() !== undefined,
  });
}

export interface DebuggedChromium extends AsyncDisposable {
  /** The port of its DevTools protocol on 127.0.0.1. */
  readonly port: number;
  /** Where the protocol's connection for the whole browser is. */
  readonly debuggerUrl: string;
}

/** Starts a headless Chromium that can be steered, with a profile of its own. */
export async function startChromium(flags: readonly string[] = []): Promise<DebuggedChromium> {
  const profile = tempDir();
  let chromium: ServerProcess;
  try {
    chromium = await startServerProcess({
      name: "chromium",
      ports: 1,
      hasChildren: true,
      command: ([port]) => [
        findChromium() ?? "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-proxy-server",
        `--user-data-dir=${profile.path}`,
        `--remote-debugging-port=${port}`,
        ...flags,
        "about:blank",
      ],
      isReady: async ({ ports: [port] }) => (await readDebuggerUrl(port ?? 0)) !== undefined,
    });
  } catch (error) {
    profile[Symbol.dispose]();
    throw error;
  }
  const port = chromium.ports[0] ?? 0;
  return {
    port,
    debuggerUrl: (await readDebuggerUrl(port)) ?? "",
    [Symbol.asyncDispose]: async () => {
      await chromium.stop();
      profile[Symbol.dispose]();
    },
  };
}

async function readDebuggerUrl(port: number): Promise<string | undefined> {
  const answer = await fetch(`http://127.0.0.1:${port}/json/version`, { proxy: false });
  const url = toRecord(await answer.json())["webSocketDebuggerUrl"];
  return typeof url === "string" ? url : undefined;
}

/** The browser of a person. */
export interface Browser extends AsyncDisposable {
  /** A page with cookies and storage of its own. */
  open(url: string, options?: OpenOptions): Promise<Page>;
}

export interface BrowserOptions {
  /** Only names below the two suffixes lead to this machine, as if it were another: neither `localhost` nor an address does. */
  readonly isRemote?: boolean;
  /** More flags of Chromium. */
  readonly flags?: readonly string[];
}

/** Starts a browser without a window, in which names below the two suffixes lead to this machine. */
export async function startBrowser({ isRemote = false, flags = [] }: BrowserOptions = {}): Promise<Browser> {
  const suffixes = [HOST_SUFFIX, SECURE_HOST_SUFFIX];
  const rules = [...suffixes.map((suffix) => `MAP *.${suffix} 127.0.0.1`), ...(isRemote ? ["MAP * ~NOTFOUND"] : [])];
  const chromium = await startChromium([
    ...flags,
    `--host-resolver-rules=${rules.join(", ")}`,
    // As over TLS: without it a page may use neither service workers nor the clipboard.
    `--unsafely-treat-insecure-origin-as-secure=http://*.${HOST_SUFFIX}`,
  ]);
  let client: CdpClient;
  try {
    client = await connectCdp(chromium.debuggerUrl);
  } catch (error) {
    await chromium[Symbol.asyncDispose]();
    throw error;
  }
  return {
    open: (url, options) => openPage(client, url, options),
    [Symbol.asyncDispose]: async () => {
      client[Symbol.dispose]();
      await chromium[Symbol.asyncDispose]();
    },
  };
}
