import { beforeAll, expect, test } from "bun:test";

import { buildBinary } from "../support/binary.ts";
import { startIngressProcess } from "../../scripts/lib/ingress-process.ts";
import { requirePart } from "../support/requires.ts";
import { startSampleStage } from "../support/sample-manifests.ts";
import { tempDir } from "../support/temp-dir.ts";

const BROWSERS = ["chromium", "chromium-browser", "google-chrome"] as const;
const browser = BROWSERS.find((name) => Bun.which(name) !== null);
const hasBrowser = requirePart("a Chromium browser", {
  get: "apt-get install chromium",
  isPresent: () => browser !== undefined,
});

/** Milliseconds of the page's own clock that the browser lets it run: several seconds of event stream. */
const PAGE_TIME_MS = 6_000;
/** A browser's first start on a busy machine. */
const TEST_MAX_MS = 90_000;

let binary: string;
beforeAll(async () => {
  binary = await buildBinary();
});

/** The states that the sample page shows, as a browser has them after a while. */
async function readPageStates(url: string): Promise<Record<string, string>> {
  using profile = tempDir();
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
      `--virtual-time-budget=${PAGE_TIME_MS}`,
      "--dump-dom",
      url,
    ],
    { stdin: "ignore", stdout: "pipe", stderr: "ignore", timeout: TEST_MAX_MS },
  );
  const page = await child.stdout.text();
  await child.exited;
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
  TEST_MAX_MS,
);
