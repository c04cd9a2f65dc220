import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { parseAccessKeys } from "../../src/access/keys.ts";
import { signRoute } from "../../src/access/signature.ts";
import { formatLabelRoute, formatUriRoute } from "../../src/route/format-route.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { headerValues, type RawAnswer, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { ACCESS_KEYS } from "../support/access-stage.ts";
import { type RawUpstream, startRawUpstream } from "../support/raw-upstream.ts";

const TOKEN = "OpenSandbox-Secure-Access: token";

let upstreams: readonly RawUpstream[];
let byHeader: ProxyHarness;
let byUri: ProxyHarness;
let varyLine = "";

/** A sandbox whose answers everybody may keep, and that says nothing of whom they are for. */
const startCacheable = (name: string) =>
  startRawUpstream((socket, { line }) => {
    const status = line.includes("/304") ? "304 Not Modified" : "200 OK";
    const body = line.startsWith("HEAD") || line.includes("/304") ? "" : `from ${name}`;
    const head = `HTTP/1.1 ${status}\r\nCache-Control: public, max-age=60\r\nContent-Type: t/x\r\n${varyLine}`;
    socket.write(`${head}Content-Length: ${`from ${name}`.length}\r\n\r\n${body}`);
  });

const portOf = (name: string): number => upstreams[["one", "two", "locked"].indexOf(name)]?.port ?? 0;

beforeAll(async () => {
  upstreams = await Promise.all(["one", "two", "locked"].map(startCacheable));
  byHeader = startProxy({}, { accessKeys: ACCESS_KEYS });
  byUri = startProxy({ mode: "uri" }, { provider: byHeader.provider, accessKeys: ACCESS_KEYS });
  for (const name of ["one", "two"]) byHeader.provider.set({ name });
  byHeader.provider.set({ name: "locked", accessToken: "token" });
});

afterAll(async () => {
  for (const proxy of [byHeader, byUri]) await proxy[Symbol.asyncDispose]();
  for (const upstream of upstreams) await upstream[Symbol.asyncDispose]();
});

interface Ask {
  readonly proxy?: ProxyHarness;
  readonly host?: string;
  readonly path?: string;
  readonly lines?: readonly string[];
  readonly method?: string;
}

const label = (name: string): string => `${name}-${portOf(name)}`;
const hostOf = (name: string): string => `${label(name)}.example.test`;
const routeTo = (name: string, header = "OpenSandbox-Ingress-To"): string => `${header}: ${label(name)}`;

function ask({ proxy = byHeader, host = "gw.test", path = "/", lines = [], method = "GET" }: Ask): Promise<RawAnswer> {
  const text = [`${method} ${path} HTTP/1.1`, `Host: ${host}`, ...lines, "", ""].join("\r\n");
  return rawRequest(proxy.port, text, { head: method === "HEAD" });
}

/** A cache that keeps what it may, by RFC 9111 §3 and §4.1: an answer is that of its address and of what `Vary` names. */
class Cache {
  readonly #kept: { readonly url: string; readonly varies: readonly (readonly [string, string])[]; body: string }[] =
    [];

  async ask(asked: Ask): Promise<string> {
    const url = `${asked.host ?? "gw.test"}${asked.path ?? "/"}`;
    const sent = (name: string): string =>
      (asked.lines ?? []).filter((line) => line.toLowerCase().startsWith(`${name}:`)).join();
    const hit = this.#kept.find(
      (kept) => kept.url === url && kept.varies.every(([name, value]) => sent(name) === value),
    );
    if (hit !== undefined) return hit.body;
    const answer = await ask(asked);
    const body = answer.status === 200 ? answer.body : String(answer.status);
    const names = headerValues(answer, "vary").flatMap((line) =>
      line.split(",").map((name) => name.trim().toLowerCase()),
    );
    if (headerValues(answer, "cache-control").join().includes("no-store") || names.includes("*")) return body;
    this.#kept.push({ url, body, varies: names.map((name) => [name, sent(name)] as const) });
    return body;
  }
}

describe("caches", () => {
  test("addVary: a cache never gives one sandbox's answer for another's, whichever spelling names it", async () => {
    for (const first of ["OpenSandbox-Ingress-To", "OPEN-SANDBOX-INGRESS"]) {
      for (const second of ["OpenSandbox-Ingress-To", "OPEN-SANDBOX-INGRESS"]) {
        const cache = new Cache();
        expect(await cache.ask({ lines: [routeTo("one", first)] })).toBe("from one");
        expect(await cache.ask({ lines: [routeTo("two", second)] })).toBe("from two");
        expect(await cache.ask({ lines: [routeTo("one", first)] })).toBe("from one");
      }
    }
  });

  test("addVary: who routes by header leaves no answer under another sandbox's address", async () => {
    for (const header of ["OpenSandbox-Ingress-To", "OPEN-SANDBOX-INGRESS"]) {
      const cache = new Cache();
      expect(await cache.ask({ host: hostOf("one"), lines: [routeTo("two", header)] })).toBe("from two");
      expect(await cache.ask({ host: hostOf("one") })).toBe("from one");
    }
  });

  test("addVary: what a token was needed for is given to nobody without it, in all forms", async () => {
    const forms: readonly Ask[] = [
      { lines: [routeTo("locked")] },
      { host: hostOf("locked") },
      { proxy: byUri, path: `/locked/${portOf("locked")}/` },
    ];
    for (const form of forms) {
      const cache = new Cache();
      const lines = form.lines ?? [];
      expect(await cache.ask({ ...form, lines: [...lines, TOKEN] })).toBe("from locked");
      expect(await cache.ask(form)).toBe("401");
      expect(await cache.ask({ ...form, lines: [...lines, `${TOKEN}x`] })).toBe("401");
      expect(await cache.ask({ ...form, lines: [...lines, TOKEN] })).toBe("from locked");
    }
  });

  test("addVary: answers of the host and URI forms stay as the sandbox sent them, signed links included", async () => {
    const target = { sandboxId: "locked", port: portOf("locked"), expiresB36: "zzzzzzz" };
    const signed = { ...target, signature: signRoute(parseAccessKeys(ACCESS_KEYS), "a", target) };
    const asks: readonly Ask[] = [
      { host: hostOf("one") },
      { proxy: byUri, path: `/one/${portOf("one")}/` },
      { host: `${formatLabelRoute(signed)}.example.test` },
      { proxy: byUri, path: `${formatUriRoute(signed)}/` },
    ];
    for (const asked of asks) {
      const answer = await ask(asked);
      expect([answer.status, headerValues(answer, "vary")]).toEqual([200, []]);
    }
  });

  test.each([
    ["", ["OpenSandbox-Ingress-To, OPEN-SANDBOX-INGRESS"]],
    ["Vary: Accept\r\n", ["Accept, OpenSandbox-Ingress-To, OPEN-SANDBOX-INGRESS"]],
    ["Vary: Accept\r\nVary: Cookie\r\n", ["Accept, Cookie, OpenSandbox-Ingress-To, OPEN-SANDBOX-INGRESS"]],
    ["Vary: opensandbox-ingress-to\r\n", ["opensandbox-ingress-to, OPEN-SANDBOX-INGRESS"]],
    ["Vary:\r\n", ["OpenSandbox-Ingress-To, OPEN-SANDBOX-INGRESS"]],
    ["Vary: *\r\n", ["*"]],
    ["Connection: Vary\r\nVary: Accept\r\n", ["OpenSandbox-Ingress-To, OPEN-SANDBOX-INGRESS"]],
  ])("addVary: a sandbox that says %j", async (line, expected) => {
    varyLine = line;
    try {
      for (const [method, path] of [
        ["GET", "/"],
        ["HEAD", "/"],
        ["GET", "/304"],
      ] as const) {
        const answer = await ask({ lines: [routeTo("one")], method, path });
        expect([path, headerValues(answer, "vary")]).toEqual([path, expected]);
      }
    } finally {
      varyLine = "";
    }
  });
});
