import { connectCdp, type CdpClient } from "./cdp-client.ts";
import { startChromium } from "./chromium.ts";
import { openPage, type OpenOptions, type Page } from "./page.ts";

/**
 * Names below it lead to this machine, in the browser and in the clients that tests start; no DNS knows it (RFC 6761
 * §6.2).
 */
export const HOST_SUFFIX = "apps.test";
/** The same, and a browser trusts these names without TLS as others with it (Secure Contexts §3.1). */
export const SECURE_HOST_SUFFIX = "localhost";

/** The browser of a person. */
export interface Browser extends AsyncDisposable {
  /** A page with cookies and storage of its own. */
  open(url: string, options?: OpenOptions): Promise<Page>;
}

export interface BrowserOptions {
  /**
   * Only names below the two suffixes lead to this machine, as if it were another: neither `localhost` nor an address
   * does.
   */
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
