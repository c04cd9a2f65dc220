import { beforeAll, expect, test } from "bun:test";

import { buildBinary } from "../support/binary.ts";
import { startIngressProcess } from "../../scripts/lib/ingress-process.ts";
import { BROWSER_MAX_MS, hasBrowser, openBrowser } from "../support/browser.ts";
import { startSampleStage } from "../support/sample-manifests.ts";

/** Milliseconds of the page's own clock that the browser lets it run: several seconds of event stream. */
const PAGE_TIME_MS = 6_000;
let binary: string;
beforeAll(async () => {
  binary = await buildBinary();
});

/** The states that the sample page shows, as a browser has them after a while. */
async function readPageStates(url: string): Promise<Record<string, string>> {
  await using browser = openBrowser(url, `--virtual-time-budget=${PAGE_TIME_MS}`, "--dump-dom");
  const page = await browser.text();
  return Object.fromEntries(
    [...page.matchAll(/<output id="([a-z]+)-state"[^>]*>([^<]*)</g)].map((match) => [match[1] ?? "", match[2] ?? ""]),
  );
}

test.skipIf(!hasBrowser).each(["host", "uri"])(
  "ingress shows a sandbox's page in a browser, whose requests, stream, upload and WebSocket work, in the %s form",
  async (form) => {
    await using stage = await startSampleStage();
    const mode = form === "uri" ? "uri" : "header";
    await using ingress = await startIngressProcess(binary, [`--manifests=${stage.manifests}`, `--mode=${mode}`]);
    const { port } = new URL(ingress.origin);
    const url =
      form === "uri" ? `${ingress.origin}/sample/${stage.sandbox.port}/` : `http://${stage.route}.localhost:${port}/`;
    const states = await readPageStates(url);
    expect(states).toMatchObject({ echo: "200", upload: "SHA-256 equal", ws: "2 of 2 back" });
    expect(states["events"]).toMatch(/^frames: [1-9]/);
  },
  BROWSER_MAX_MS,
);
