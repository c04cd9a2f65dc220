import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";

import { FAILURE_BURST } from "../../src/access/failure-limiter.ts";
import { parseAccessKeys } from "../../src/access/keys.ts";
import { signRoute } from "../../src/access/signature.ts";
import { parseAddressSet } from "../../src/address.ts";
import { formatUriRoute } from "../../src/route/format-route.ts";
import { sandboxNameCandidates } from "../../src/sandbox/names.ts";
import { createTableProvider, type TableProvider } from "../../scripts/lib/stage/table-provider.ts";
import { DEFAULT_BROWSER, type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { headerValues, openRaw, type RawAnswer, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { ACCESS_KEYS } from "../support/access-stage.ts";
import { type RawUpstream, startRawUpstream } from "../support/raw-upstream.ts";

let upstream: RawUpstream;
let running: ProxyHarness[] = [];
let proxy: ProxyHarness;
/** Trusts this machine. */
let trusting: ProxyHarness;
/** The prefixes of the open sandbox, and of the secured one with a right and a wrong signature. */
let open: string;
let signed: string;
let forged: string;

beforeAll(async () => {
  upstream = await startRawUpstream("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  open = `/sb/${upstream.port}`;
  const target = { sandboxId: "locked", port: upstream.port, expiresB36: "zzzzzzz" };
  const signature = signRoute(parseAccessKeys(ACCESS_KEYS), "a", target);
  signed = formatUriRoute({ ...target, signature });
  const other = signature.signature.startsWith("0") ? "1" : "0";
  forged = formatUriRoute({ ...target, signature: { ...signature, signature: other + signature.signature.slice(1) } });
});

beforeEach(() => {
  proxy = startUriProxy();
  trusting = startUriProxy({ trustedProxies: parseAddressSet("127.0.0.1") });
});

afterEach(async () => {
  await Promise.all(running.map((harness) => harness[Symbol.asyncDispose]()));
  running = [];
});

afterAll(() => upstream[Symbol.asyncDispose]());

function startUriProxy(
  config: Parameters<typeof startProxy>[0] = {},
  provider: TableProvider = createTableProvider(),
): ProxyHarness {
  const harness = startProxy({ mode: "uri", ...config }, { accessKeys: ACCESS_KEYS, provider });
  running.push(harness);
  harness.provider.set({ name: "sb" });
  harness.provider.set({ name: "locked", accessToken: "token" });
  harness.provider.set({ name: "paused", ready: false, notReady: "sandbox is paused" });
  return harness;
}

interface Ask {
  readonly method?: string;
  readonly lines?: readonly string[];
  readonly body?: string;
  readonly host?: string;
  readonly from?: ProxyHarness;
}

/** Asks for a path like a page with the address `referer`. A path there is one on the own host. */
function ask(path: string, referer: string | undefined, options: Ask = {}): Promise<RawAnswer> {
  const { method = "GET", lines = [], body, host = "in.test", from = proxy } = options;
  const all = [`${method} ${path} HTTP/1.1`, `Host: ${host}`, ...lines];
  if (referer !== undefined) all.push(`Referer: ${/^\/(?!\/)/.test(referer) ? `http://${host}${referer}` : referer}`);
  if (body !== undefined) all.push(`Content-Length: ${body.length}`);
  return rawRequest(from.port, [...all, "", body ?? ""].join("\r\n"), { head: method === "HEAD" });
}

const locationOf = (answer: RawAnswer): string | undefined => headerValues(answer, "location")[0];

/** The parts of an answer that do not differ by request. */
function said({ status, headers, body }: RawAnswer): unknown {
  return { status, body, headers: headers.filter(([name]) => name !== "x-request-id" && name !== "date") };
}

describe("findRecovery", () => {
  test("findRecovery sends an absolute path of a page to the page's prefix, and no cache keeps the answer", async () => {
    for (const page of ["", "/", "/a/b.html", "/a?/other/1/", "/?x#y"]) {
      const answer = await ask("/static/app.js?v=1&w", `${open}${page}`);
      expect([answer.status, locationOf(answer)]).toEqual([307, `${open}/static/app.js?v=1&w`]);
      expect(headerValues(answer, "cache-control")).toEqual(["no-store"]);
      expect(headerValues(answer, "vary")).toEqual(["Referer"]);
      expect(headerValues(answer, "x-request-id")).toHaveLength(1);
    }
    expect(upstream.requests).toEqual([]);
  });

  test.each([
    "/",
    "/x",
    "/x/y",
    "/x/0",
    "/static/80/a.js",
    "/a%20b",
    "/sb",
    "/sb/",
    "/sb/x",
    "//evil.test/x",
    "/.x/..y",
  ])("findRecovery finds the lost path %s, and its answer leads to the sandbox at once", async (path) => {
    const location = locationOf(await ask(path, `${open}/`)) ?? "";
    expect(location).toBe(`${open}${path}`);
    const followed = await ask(location, `${open}/`);
    expect([followed.status, followed.body]).toEqual([200, "ok"]);
  });

  test("findRecovery keeps every method, and the client may read the answer before its body is read", async () => {
    for (const method of ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
      const hasBody = method.startsWith("P");
      const lines = hasBody ? ["Origin: http://in.test"] : [];
      const answer = await ask("/api", `${open}/`, {
        method,
        lines,
        ...(hasBody ? { body: "b".repeat(100_000) } : {}),
      });
      expect([method, answer.status, locationOf(answer)]).toEqual([method, 307, `${open}/api`]);
    }
    const connection = await openRaw(proxy.port);
    connection.write(
      `POST /api HTTP/1.1\r\nHost: in.test\r\nReferer: http://in.test${open}/\r\nContent-Length: 1000000000\r\n\r\nx`,
    );
    const answer = await connection.readAnswer();
    expect([answer.status, headerValues(answer, "connection")]).toEqual([307, ["close"]]);
    connection.destroy();
  });

  test.each([
    ["another host", "http://evil.test/sb/PORT/"],
    ["a host that ends like ours", "http://evil-in.test/sb/PORT/"],
    ["a host that begins like ours", "http://in.test.evil.test/sb/PORT/"],
    ["our host as the user of another", "http://in.test@evil.test/sb/PORT/"],
    ["a user at our host", "http://user@in.test/sb/PORT/"],
    ["another port", "http://in.test:8080/sb/PORT/"],
    ["another scheme", "ftp://in.test/sb/PORT/"],
    ["no scheme", "//in.test/sb/PORT/"],
    ["a bare origin", "http://in.test"],
    ["the root", "http://in.test/"],
    ["a backslash", "http://in.test\\sb/PORT/"],
    ["an encoded prefix", "http://in.test/%73b/PORT/"],
    ["a route in the query", "http://in.test/?/sb/PORT/"],
    ["a route behind a path", "http://in.test/x/sb/PORT/"],
    ["an invalid port", "http://in.test/sb/0PORT/"],
    ["a sandbox that does not exist", "http://in.test/none/PORT/"],
    ["more than any browser sends", `http://in.test/sb/PORT/${"a".repeat(4_096)}`],
    ["two of them", "http://in.test/sb/PORT/, http://in.test/sb/PORT/x".replace("/,", ",")],
    ["no URL", "sb/PORT"],
    ["nothing", ""],
  ])("findRecovery does not change a refusal for a Referer with %s", async (_, referer) => {
    const filled = referer.replaceAll("PORT", String(upstream.port));
    expect(said(await ask("/static/app.js", filled))).toEqual(said(await ask("/static/app.js", undefined)));
  });

  test.each([
    "Origin: null",
    "Origin: http://evil.test",
    "Origin: http://in.test.evil.test",
    "Origin: http://in.test/",
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Site: same-site",
    "Sec-Fetch-Site: none",
    "Origin: http://in.test\r\nSec-Fetch-Site: cross-site",
  ])("findRecovery ignores the Referer if the browser sends %j", async (said) => {
    const lines = [said];
    expect((await ask("/x", `${open}/`, { method: "POST", lines, body: "b" })).status).toBe(400);
  });

  test("findRecovery works for pages of the own origin, over http and https", async () => {
    for (const lines of [["Sec-Fetch-Site: same-origin"], ["Origin: https://in.test"], ["Origin: http://IN.test:80"]]) {
      expect((await ask("/x", `https://In.Test:443${open}/`, { lines })).status).toBe(307);
    }
    expect((await ask("/x", "/sb/1/", { host: "in.test:8443" })).status).toBe(307);
    expect((await ask("/x", "http://in.test/sb/1/", { host: "in.test:8443" })).status).toBe(400);
  });

  test("findRecovery never touches the path of a sandbox that exists", async () => {
    expect((await ask("/locked/80/x", `${open}/`)).status).toBe(401);
    expect((await ask("/paused/80/x", `${open}/`)).status).toBe(503);
    expect((await ask(`${open}/x`, `${signed}/`)).status).toBe(200);
    proxy.provider.set({ name: "twice", namespace: "a" });
    proxy.provider.set({ name: "twice", namespace: "b" });
    expect((await ask("/twice/80/x", `${open}/`)).status).toBe(502);
    expect((await ask("/x", "/twice/80/")).status).toBe(400);
    expect((await ask("/status.ok", `${open}/`)).status).toBe(200);
    expect((await ask("/x", "/paused/80/")).status).toBe(307);
  });

  test("findRecovery keeps every crafted path on the own host and below the prefix", async () => {
    const dots = [
      "/%2e%2e/x",
      "/.%2E/%2e./x",
      "/a/%2e%2e/%2e%2e/%2e%2e/x",
      "/%2e%2e\\x",
      "/..\\..\\x",
      "/a/..%5c..%5cx",
    ];
    for (const path of [
      ...dots,
      "/\\evil.test",
      "/\\/evil.test/",
      "/@evil.test",
      "/%0d%0aSet-Cookie:a=b",
      "/?\u00e9\\",
    ]) {
      const answer = await ask(path, `${open}/`);
      const url = new URL(locationOf(answer) ?? "http://none.test", "http://in.test");
      expect([answer.status, url.host, url.pathname.startsWith(`${open}/`)]).toEqual([307, "in.test", true]);
      expect(headerValues(answer, "set-cookie")).toEqual([]);
    }
  });

  test("findRecovery passes on bytes that are not UTF-8 in the form in which they are forwarded", async () => {
    const head = `GET /\xff\xe9?\xff HTTP/1.1\r\nHost: in.test\r\nReferer: http://in.test${open}/\r\n\r\n`;
    const answer = await rawRequest(proxy.port, Buffer.from(head, "latin1"));
    expect(answer.status).toBe(307);
    expect(locationOf(answer)).toMatch(/^\/sb\/\d+\/[\x21-\x7e]+$/);
  });

  test("findRecovery never sends a browser to a prefix that it would read as dots", async () => {
    const provider = createTableProvider({ providerType: "agent-sandbox" });
    const from = startUriProxy({}, provider);
    for (const id of [".", ".."]) {
      for (const name of sandboxNameCandidates(id)) provider.set({ name });
      expect((await ask("/x", `/${id}/${upstream.port}/`, { from })).status).toBe(400);
    }
    expect((await ask("/x", `${open}/`, { from })).status).toBe(307);
  });
});

describe("findRecovery and access", () => {
  test("findRecovery puts the credential of a signed link in front of the path", async () => {
    const answer = await ask("/static/app.js", `${signed}/page`);
    expect(locationOf(answer)).toBe(`${signed}/static/app.js`);
    expect((await ask(locationOf(answer) ?? "", `${signed}/page`)).status).toBe(200);
    expect(locationOf(await ask("/x", signed))).toBe(`${signed}/x`);
  });

  test("findRecovery treats a signed-looking part as part of the page's path, for an open sandbox or with a token", async () => {
    expect(locationOf(await ask("/x", `${open}/zzzzzzz/01234567a/page`))).toBe(`${open}/x`);
    const lines = ["OpenSandbox-Secure-Access: token"];
    expect(locationOf(await ask("/x", `${forged}/`, { lines }))).toBe(`/locked/${upstream.port}/x`);
    expect(locationOf(await ask("/x", `${signed}/`, { lines }))).toBe(`${signed}/x`);
    expect((await ask("/x", `${signed}/`, { lines: ["OpenSandbox-Secure-Access: wrong"] })).status).toBe(400);
  });

  test("findRecovery tells no client without a credential that a sandbox exists", async () => {
    const expired = signed.replace("/zzzzzzz/", "/1/");
    const unknown = said(await ask("/x", "/none/80/"));
    for (const page of [`/locked/${upstream.port}/`, `${expired}/`, `${forged}/`]) {
      expect(said(await ask("/x", page))).toEqual(unknown);
    }
  });

  test("findRecovery counts a wrong signature in the Referer as a guess, and logs it without the signature", async () => {
    for (let guess = 0; guess < FAILURE_BURST; guess++) expect((await ask("/x", `${forged}/`)).status).toBe(400);
    expect((await ask(`${forged}/`, undefined)).status).toBe(429);
    expect((await ask("/x", `${signed}/`)).status).toBe(400);
    const causes = proxy.accessLog.map(({ cause }) => cause);
    expect(causes[0]).toBe("signature_invalid for the page in Referer");
    expect(causes.at(-1)).toBe("access_throttled for the page in Referer");
    expect(JSON.stringify(proxy.accessLog)).not.toContain(forged.split("/")[4] ?? "");
  });
});

describe("RequestHandler and --uri-recovery", () => {
  test("RequestHandler reports a recovery with the page's route, without the path", async () => {
    await ask("/secret?q", `${open}/page`);
    expect(proxy.accessLog).toHaveLength(1);
    expect(proxy.accessLog[0]).toMatchObject({ status: 307, form: "uri", sandboxId: "sb", port: upstream.port });
    expect(proxy.accessLog[0]?.code).toBeUndefined();
    expect(JSON.stringify(proxy.accessLog)).not.toMatch(/secret|page|"q"/);
  });

  test("RequestHandler recovers nothing with --uri-recovery off, or in header mode", async () => {
    const off = startUriProxy({ browser: { ...DEFAULT_BROWSER, uriRecovery: "off" } });
    const byHeader = startUriProxy({ mode: "header" });
    for (const from of [off, byHeader]) {
      for (const path of ["/x", "/none/80/x"]) {
        const answer = await ask(path, `${open}/`, { from });
        expect([400, 404]).toContain(answer.status);
        expect(said(answer)).toEqual(said(await ask(path, undefined, { from })));
      }
    }
    const lines = [`OpenSandbox-Ingress-To: none-${upstream.port}`];
    expect((await ask("/x", `${open}/`, { from: byHeader, lines })).status).toBe(404);
  });

  test("RequestHandler recovers no WebSocket, since no browser would follow its redirect", async () => {
    const lines = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"];
    lines.push("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==");
    expect((await ask("/ws", `${open}/`, { lines })).status).toBe(400);
  });

  test("RequestHandler trusts host and prefix only from a trusted proxy", async () => {
    const lines = ["X-Forwarded-Host: public.test", "X-Forwarded-Proto: https", "X-Forwarded-Prefix: /out/"];
    const page = `https://public.test/out${open}/page`;
    expect(locationOf(await ask("/x", page, { lines, from: trusting }))).toBe(`/out${open}/x`);
    expect((await ask("/x", `https://public.test${open}/page`, { lines, from: trusting })).status).toBe(400);
    expect((await ask("/x", page, { lines })).status).toBe(400);
    const hostile = ["X-Forwarded-Prefix: //evil.test"];
    expect(locationOf(await ask("/x", `${open}/`, { lines: hostile, from: trusting }))).toBe(`${open}/x`);
  });

  test("RequestHandler recovers nothing for a client without Host", async () => {
    const referer = `Referer: http://in.test${open}/`;
    expect((await rawRequest(proxy.port, `GET /x HTTP/1.0\r\n${referer}\r\n\r\n`)).status).toBe(400);
  });

  test("RequestHandler waits for the list of sandboxes before it calls a page's sandbox unknown", async () => {
    const table = createTableProvider({ synced: false });
    const whenSynced: TableProvider["whenSynced"] = (timeoutMs) => {
      setImmediate(() => {
        table.set({ name: "sb" });
        table.setStatus({ synced: true });
      });
      return table.whenSynced(timeoutMs);
    };
    await using starting = startProxy({ mode: "uri" }, { provider: { ...table, whenSynced } });
    expect(locationOf(await ask("/x", `${open}/`, { from: starting }))).toBe(`${open}/x`);
  });
});
