import { beforeAll, expect, test } from "bun:test";
import { join } from "node:path";

import { parseAccessKeys } from "../../src/access/keys.ts";
import { signRoute } from "../../src/access/signature.ts";
import { formatUriRoute } from "../../src/route/format-route.ts";
import { ACCESS_KEYS } from "../support/access-stage.ts";
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

/** A page as a browser has it after a while. */
async function dumpPage(url: string): Promise<string> {
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
  return page;
}

/** The states that the sample page shows. */
async function readPageStates(url: string): Promise<Record<string, string>> {
  const page = await dumpPage(url);
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
    expect(states).toMatchObject({ strict: "2 of 2 back", redirect: "landed here", cookie: "below its path only" });
    expect(states).toMatchObject({ asset: "loaded" });
    expect(states["events"]).toMatch(/^frames: [1-9]/);
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
    const page = await dumpPage(`${ingress.origin}${formatUriRoute({ ...target, signature })}/`);
    // Not what the script of the page holds.
    const said = /<output>([^<"]*)<\/output>/.exec(page)?.[1];
    expect(said).toBe(kind === "off" ? undefined : "classic module style nested posted:sent");
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
    const outputs = (page: string): string[] =>
      [...page.matchAll(/<output>(.*?)<\/output>/g)].map(([, text = ""]) => text);
    const [answer, refusal] = outputs(await dumpPage(`http://127.0.0.1:${allowed.port}/`));
    expect(answer).toStartWith('200 {"bytes":2,');
    expect(refusal).toStartWith("404 ");
    expect(outputs(await dumpPage(`http://127.0.0.1:${other.port}/`))).toEqual(["blocked", "blocked"]);
  },
  2 * TEST_MAX_MS,
);
