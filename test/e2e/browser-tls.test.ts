import { expect, test } from "bun:test";
import { startSampleSandbox } from "../../scripts/lib/demo/sample-sandbox.ts";
import { DEFAULT_BROWSER, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { startBrowser } from "../../scripts/lib/browser/browser.ts";
import { requireBrowser } from "../support/require-browser.ts";
import { SAMPLE_STATES } from "../support/sample-states.ts";
import { tempDir } from "../support/temp-dir.ts";
import { makeTlsAuthority } from "../support/tls-authority.ts";

const hasBrowser = requireBrowser();

/** Above the time that a page has to settle. */
const TEST_MAX_MS = 150_000;

test.skipIf(!hasBrowser).each([
  [false, "http/1.1"],
  [true, "h2"],
] as const)(
  "--tls-cert-file with --http2=%p shows a browser a page over %s, whose WebSockets work",
  async (http2, protocol) => {
    using dir = tempDir();
    const { cert, key } = await (await makeTlsAuthority(dir.path)).issue("page");
    const sandbox = startSampleSandbox("sample", { address: "127.0.0.1", port: 0 });
    await using proxy = startProxy({ http2, browser: { ...DEFAULT_BROWSER, originHeader: "upstream" } });
    proxy.provider.set({ name: "sample" });
    const settings = { cert, key, clientCa: undefined, minVersion: "1.2" } as const;
    const port = proxy.server.startTls({ host: "127.0.0.1", port: 0 }, settings);
    await using browser = await startBrowser({ flags: ["--ignore-certificate-errors"] });
    await using page = await browser.open(`https://sample-${sandbox.port}.localhost:${port}/`);
    const names = Object.keys(SAMPLE_STATES);
    const selector = names.map((name) => `#${name}-state`).join();
    const shown = `[...document.querySelectorAll(${JSON.stringify(selector)})].map(({ textContent }) => textContent)`;
    const isGood = (texts: unknown): boolean =>
      Array.isArray(texts) && names.every((name, at) => SAMPLE_STATES[name]?.test(String(texts[at])));
    const texts = await page.settle(shown, isGood);
    expect(texts).toEqual(names.map((name): unknown => expect.stringMatching(SAMPLE_STATES[name] ?? "")));
    expect(await page.evaluate(`performance.getEntriesByType("navigation")[0].nextHopProtocol`)).toBe(protocol);
    await sandbox.stop();
  },
  TEST_MAX_MS,
);
