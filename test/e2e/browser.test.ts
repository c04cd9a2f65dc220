import { beforeAll, expect, test } from "bun:test";
import { join } from "node:path";

import { parseAccessKeys } from "../../src/access/keys.ts";
import { signRoute } from "../../src/access/signature.ts";
import { formatUriRoute } from "../../src/route/format-route.ts";
import { ACCESS_KEYS } from "../support/access-stage.ts";
import { buildBinary } from "../support/binary.ts";
import { startBrowser } from "../../scripts/lib/browser/browser.ts";
import { requireBrowser } from "../support/require-browser.ts";
import { startIngressProcess } from "../../scripts/lib/ingress-process.ts";
import { startSampleStage } from "../support/sample-manifests.ts";
import { SAMPLE_STATES } from "../support/sample-states.ts";
import { tempDir } from "../support/temp-dir.ts";

const hasBrowser = requireBrowser();

/** Above the time that a page has to settle. */
const TEST_MAX_MS = 150_000;

let binary: string;
beforeAll(async () => {
  binary = await buildBinary();
});

/** The texts of the elements that a selector means. */
const textsOf = (selector: string): string =>
  `[...document.querySelectorAll(${JSON.stringify(selector)})].map(({ textContent }) => textContent)`;

test.skipIf(!hasBrowser).each(["host", "uri"])(
  "ingress shows a sandbox's page in a browser, whose requests, stream, upload and WebSocket work, in the %s form",
  async (form) => {
    await using stage = await startSampleStage();
    const mode = form === "uri" ? "uri" : "header";
    await using ingress = await startIngressProcess(binary, [`--manifests=${stage.manifests}`, `--mode=${mode}`]);
    const { port } = new URL(ingress.origin);
    const url =
      form === "uri" ? `${ingress.origin}/sample/${stage.sandbox.port}/` : `http://${stage.route}.localhost:${port}/`;
    await using browser = await startBrowser();
    await using page = await browser.open(url);
    const names = Object.keys(SAMPLE_STATES);
    const shown = textsOf(names.map((name) => `#${name}-state`).join());
    const isGood = (texts: unknown): boolean =>
      Array.isArray(texts) && names.every((name, at) => SAMPLE_STATES[name]?.test(String(texts[at])));
    const texts = await page.settle(shown, isGood);
    expect(texts).toEqual(names.map((name): unknown => expect.stringMatching(SAMPLE_STATES[name] ?? "")));
  },
  TEST_MAX_MS,
);

/** Pages below a prefix that ask for absolute paths in every way that a page can, and say what came of it. */
const ABSOLUTE_PAGE = `<!doctype html><html><head><link rel="icon" href="data:,">
<link rel="stylesheet" href="/style/main.css"><script src="/classic.js"></script></head><body>
<script type="module">
  import { name } from "/modules/main.js";
  const style = getComputedStyle(document.body);
  const post = await (await fetch("/api/echo", { method: "POST", body: "sent" })).text();
  const said = [globalThis.classic, name, style.getPropertyValue("--from"), style.getPropertyValue("--nested"), post];
  document.body.innerHTML = "<output>" + said.join(" ") + "</output>";
</script></body></html>`;

const ABSOLUTE_PATHS: Readonly<Record<string, readonly [type: string, body: string]>> = {
  "/": ["text/html", ABSOLUTE_PAGE],
  "/classic.js": ["text/javascript", "globalThis.classic = 'classic';"],
  "/modules/main.js": ["text/javascript", "export { name } from '/modules/deep/name.js';"],
  "/modules/deep/name.js": ["text/javascript", "export const name = 'module';"],
  "/style/main.css": ["text/css", "@import '/style/nested.css'; body { --from: style }"],
  "/style/nested.css": ["text/css", "body { --nested: nested }"],
};

/** A BatchSandbox in a file of its own, on 127.0.0.1. */
function manifestOf(annotations: Readonly<Record<string, string>>): string {
  return JSON.stringify({
    apiVersion: "sandbox.opensandbox.io/v1alpha1",
    kind: "BatchSandbox",
    metadata: {
      name: "page",
      namespace: "test",
      annotations: { "sandbox.opensandbox.io/endpoints": '["127.0.0.1"]', ...annotations },
    },
    status: { replicas: 1, ready: 1, phase: "Succeed" },
  });
}

test.skipIf(!hasBrowser).each(["plain", "signed", "off"])(
  "ingress gives a browser what a page of the URI form asks for by absolute paths: %s",
  async (kind) => {
    using server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      async fetch(request) {
        const { pathname } = new URL(request.url);
        if (pathname === "/api/echo") return new Response(`posted:${await request.text()}`);
        const [type, body] = ABSOLUTE_PATHS[pathname] ?? [];
        if (type === undefined) return new Response("missing", { status: 404 });
        return new Response(body, { headers: { "content-type": type } });
      },
    });
    using dir = tempDir();
    const isSigned = kind === "signed";
    await Bun.write(
      join(dir.path, "page.json"),
      manifestOf(isSigned ? { "opensandbox.io/secure-access-token": "token" } : {}),
    );
    const flags = [`--manifests=${dir.path}`, "--mode=uri"];
    if (kind === "off") flags.push("--uri-recovery=off");
    if (isSigned) flags.push(`--secure-access-keys=${ACCESS_KEYS}`);
    await using ingress = await startIngressProcess(binary, flags);
    const target = { sandboxId: "page", port: server.port ?? 0, expiresB36: "zzzzzzz" };
    const signature = isSigned ? signRoute(parseAccessKeys(ACCESS_KEYS), "a", target) : undefined;
    await using browser = await startBrowser();
    await using page = await browser.open(`${ingress.origin}${formatUriRoute({ ...target, signature })}/`);
    // The load event waits for every script and style sheet, and the page's own script says when its POST has come back.
    await page.settle("document.readyState", (state) => state === "complete");
    const expected = kind === "off" ? [] : ["classic module style nested posted:sent"];
    expect(await page.settle(textsOf("output"), (texts) => Bun.deepEquals(texts, expected))).toEqual(expected);
  },
  TEST_MAX_MS,
);

test.skipIf(!hasBrowser)(
  "ingress lets the pages of --cors-origins read answers and refusals, and others neither",
  async () => {
    await using stage = await startSampleStage();
    let script = "";
    const servePage = () =>
      Bun.serve({
        hostname: "127.0.0.1",
        port: 0,
        fetch: () => new Response(script, { headers: { "content-type": "text/html" } }),
      });
    using allowed = servePage();
    using other = servePage();
    const flags = [`--manifests=${stage.manifests}`, `--cors-origins=http://127.0.0.1:${allowed.port}`];
    await using ingress = await startIngressProcess(binary, flags);
    script = `<!doctype html><body><script type="module">
      const ask = async (route) => {
        const headers = { "OpenSandbox-Ingress-To": route, "Content-Type": "application/json" };
        try {
          const answer = await fetch("${ingress.origin}/upload", { method: "POST", headers, body: "{}" });
          return answer.status + " " + (await answer.text()).trim();
        } catch { return "blocked"; }
      };
      document.body.innerHTML = "<output>" + await ask("${stage.route}") + "</output><output>" + await ask("none-80") + "</output>";
    </script></body>`;
    await using browser = await startBrowser();
    const readOutputs = async (port: number | undefined): Promise<unknown> => {
      await using page = await browser.open(`http://127.0.0.1:${port}/`);
      return await page.settle(textsOf("output"), (texts) => Array.isArray(texts) && texts.length === 2);
    };
    const expected: unknown[] = [expect.stringMatching(/^200 \{"bytes":2,/), expect.stringMatching(/^404 /)];
    expect(await readOutputs(allowed.port)).toEqual(expected);
    expect(await readOutputs(other.port)).toEqual(["blocked", "blocked"]);
  },
  2 * TEST_MAX_MS,
);
