import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { parseAddressSet } from "../../src/address.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { headerValues, type RawAnswer, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { headerOf, type RawUpstream, startRawUpstream } from "../support/raw-upstream.ts";

/** Header lines of the sandbox's answer, by path. */
const ANSWER_LINES: Readonly<Record<string, string>> = {
  "/own-id": "X-Request-Id: theirs\r\n",
  "/proxy-auth": "Proxy-Authenticate: Basic\r\nProxy-Authentication-Info: x\r\n",
  "/delivery":
    "X-Accel-Redirect: /a\r\nX-Sendfile: /b\r\nX-LIGHTTPD-send-file: /c\r\nX-Reproxy-URL: http://d/\r\nX-Accel-Buffering: no\r\n",
  "/options-64": `Connection: ${"a,".repeat(63)}b\r\n`,
  "/options-65": `Connection: ${"a,".repeat(64)}b\r\n`,
  "/head-large": `X-A: ${"a".repeat(40_000)}\r\nX-B: ${"b".repeat(40_000)}\r\n`,
  "/head-fits": `X-A: ${"a".repeat(30_000)}\r\nX-B: ${"b".repeat(30_000)}\r\n`,
};

const SIGNED = "3w5e11-01234567a";
let upstream: RawUpstream;
let proxy: ProxyHarness;
let trusting: ProxyHarness;
let uriProxy: ProxyHarness;

beforeAll(async () => {
  upstream = await startRawUpstream((socket, request) => {
    const path = request.line.split(" ")[1] ?? "";
    const lines = ANSWER_LINES[path] ?? "";
    socket.write(`HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n${lines}Content-Length: 2\r\n\r\nok`, "latin1");
  });
  proxy = startProxy();
  proxy.provider.set({ name: "sb" });
  proxy.provider.set({ name: "closed", accessToken: "secret" });
  const { provider } = proxy;
  trusting = startProxy({ trustedProxies: parseAddressSet("127.0.0.1") }, { provider });
  uriProxy = startProxy({ mode: "uri" }, { provider });
});

afterAll(async () => {
  for (const harness of [proxy, trusting, uriProxy]) await harness[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

function get(path: string, lines: readonly string[] = [], harness = proxy): Promise<RawAnswer> {
  const route = `OpenSandbox-Ingress-To: sb-${upstream.port}`;
  const head = [`GET ${path} HTTP/1.1`, "Host: h.test", route, ...lines, "", ""].join("\r\n");
  return rawRequest(harness.port, head);
}

const seen = (name: string): string | undefined => headerOf(upstream.requests.at(-1), name);
const requestIdOf = (answer: RawAnswer): string | undefined => headerValues(answer, "x-request-id")[0];

describe("rewriteRequestHeaders", () => {
  test("rewriteRequestHeaders trusts only a trusted peer", async () => {
    const lines = ["Forwarded: for=6.6.6.6", "X-Real-IP: 6.6.6.6", "X-Forwarded-Port: 1", "X_Forwarded_For: 6.6.6.6"];
    await get("/x", lines);
    for (const name of ["forwarded", "x-real-ip", "x-forwarded-port", "x_forwarded_for"]) {
      expect(seen(name)).toBeUndefined();
    }
    await get("/x", lines, trusting);
    expect([seen("forwarded"), seen("x-real-ip"), seen("x-forwarded-port")]).toEqual(["for=6.6.6.6", "6.6.6.6", "1"]);
    expect(seen("x_forwarded_for")).toBeUndefined();
  });

  test("rewriteRequestHeaders is not undone by Connection, and Bun adds nothing instead", async () => {
    const names = "X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, User-Agent, Accept, CDN-Loop, X-Request-Id";
    const lines = ["X-Forwarded-Proto: https", "User-Agent: mine", "CDN-Loop: c.test", "X-Request-Id: mine"];
    for (const harness of [proxy, trusting]) {
      await get("/x", [`Connection: ${names}`, ...lines], harness);
      expect(seen("x-forwarded-for")).toBe("127.0.0.1");
      expect(seen("x-forwarded-host")).toBe("h.test");
      expect(seen("x-forwarded-proto")).toBe("http");
      expect([seen("user-agent"), seen("accept")]).toEqual(["", "*/*"]);
      expect(seen("cdn-loop")).toBe("c.test, opensandbox-ingress");
      expect(seen("x-request-id")).toBe("mine");
    }
  });

  test("rewriteRequestHeaders never sends the sandbox a signature, in any form of route", async () => {
    const signedHost = `sb-${upstream.port}-${SIGNED}.apps.test`;
    const signedPath = `/sb/${upstream.port}/${SIGNED.replace("-", "/")}/x`;
    const referer = `Referer: https://${signedHost}${signedPath}`;
    const answers = [
      await rawRequest(
        proxy.port,
        `GET /x HTTP/1.1\r\nHost: ${signedHost}\r\nOrigin: https://${signedHost}\r\n${referer}\r\n\r\n`,
      ),
      await rawRequest(
        uriProxy.port,
        `GET /sb/${upstream.port}/x HTTP/1.1\r\nHost: ${signedHost}\r\n${referer}\r\n\r\n`,
      ),
      await get("/x", [`X-Forwarded-Host: ${signedHost}`, `X-Forwarded-Prefix: ${signedPath}`, referer], trusting),
    ];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    for (const request of upstream.requests.slice(-3)) {
      expect(request.headerLines.join("\n")).not.toMatch(/3w5e11|01234567a/);
      expect(headerOf(request, "x-forwarded-host")).toBe(`sb-${upstream.port}.apps.test`);
      expect(headerOf(request, "referer")).toBe(`https://sb-${upstream.port}.apps.test/sb/${upstream.port}/x`);
    }
  });
});

describe("rewriteResponseHeaders", () => {
  test("rewriteResponseHeaders hides requests for a proxy's password from the client", async () => {
    const answer = await get("/proxy-auth");
    expect(headerValues(answer, "proxy-authenticate")).toEqual([]);
    expect(headerValues(answer, "proxy-authentication-info")).toEqual([]);
  });

  test("rewriteResponseHeaders lets no sandbox order a server in front to deliver something else", async () => {
    const { headers } = await get("/delivery");
    const names = headers.map(([name]) => name).filter((name) => /accel|sendfile|send-file|reproxy/.test(name));
    // What only tunes how the answer is passed on goes through: event streams need it.
    expect(names).toEqual(["x-accel-buffering"]);
  });

  test.each([
    ["/options-64", 200],
    ["/options-65", 502],
    ["/head-fits", 200],
    ["/head-large", 502],
  ])("rewriteResponseHeaders: the answer %s is %d", async (path, status) => {
    expect((await get(path)).status).toBe(status);
    await eventually(() => proxy.server.inFlight() === 0);
  });
});

describe("checkConnectionOptions", () => {
  test.each([
    [64, 200],
    [65, 400],
    [2_000, 400],
  ])("checkConnectionOptions: a request with %d options is %d", async (count, status) => {
    expect(
      (await get("/x", [`Connection: ${Array.from({ length: count }, (_, at) => `x${at}`).join(",")}`])).status,
    ).toBe(status);
  });

  test.each([
    [64, 200],
    [65, 400],
  ])("checkHandshake: %d sub-protocols get the answer %d", async (count, status) => {
    const lines = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"];
    const names = Array.from({ length: count }, (_, at) => `p${at}`).join(",");
    const key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
    expect((await get("/x", [...lines, key, `Sec-WebSocket-Protocol: ${names}`])).status).toBe(status);
  });
});

describe("request id", () => {
  test("createRequestIds uses one id for the sandbox, the client and the log", async () => {
    for (const [sent, kept] of [
      ["X-Request-Id: mine-1", true],
      [`X-Request-Id: ${"a".repeat(129)}`, false],
      ["X-Request-Id: a b", false],
      ["X-Other: 1", false],
    ] as const) {
      const logged = proxy.accessLog.length;
      const id = requestIdOf(await get("/x", [sent]));
      expect(id).toMatch(kept ? /^mine-1$/ : /^test-[0-9a-z]+$/);
      expect(seen("x-request-id")).toBe(id);
      await eventually(() => proxy.accessLog.length > logged);
      expect(proxy.accessLog.at(-1)?.requestId).toBe(id);
    }
    expect(requestIdOf(await get("/own-id", ["X-Request-Id: mine-2"]))).toBe("theirs");
  });

  test("buildRefusal puts an id into every refusal, and all 401 are equal except for it", async () => {
    const to = (route: string, ...lines: string[]): Promise<RawAnswer> =>
      rawRequest(
        proxy.port,
        ["GET / HTTP/1.1", "Host: x", `OpenSandbox-Ingress-To: ${route}`, ...lines, "", ""].join("\r\n"),
      );
    const refusals = [
      await to("nobody-80"),
      await to("sb-1"),
      await to("bad"),
      await to("sb-1", "Connection: ,".padEnd(90, ",")),
    ];
    expect(refusals.map(({ status }) => status)).toEqual([404, 503, 400, 400]);
    const denied = [await to("closed-80"), await to("closed-80", "OpenSandbox-Secure-Access: wrong")];
    const ids = [...refusals, ...denied].map(requestIdOf);
    expect(ids.every((id) => /^test-[0-9a-z]+$/.test(id ?? ""))).toBe(true);
    expect(new Set(ids).size).toBe(ids.length);
    const [first, second] = denied.map(({ raw }) => raw.replace(/^(x-request-id|date): .*$/gim, ""));
    expect(first).toStartWith("HTTP/1.1 401");
    expect(second).toBe(first ?? "");
    expect(requestIdOf(await to("nobody-80", "X-Request-Id: mine"))).toBe("mine");
  });
});

describe("loops", () => {
  const passes = (harness: ProxyHarness, from: number): number =>
    harness.accessLog.slice(from).filter(({ code }) => code === undefined || code === "loop_detected").length;

  test.each(["Connection: close", "Connection: cdn-loop", 'CDN-Loop: x; a="'])(
    "checkLoop ends a loop by path at its fourth pass, with %s",
    async (line) => {
      const { port } = uriProxy;
      const from = uriProxy.accessLog.length;
      const hop = `/sb/${port}`;
      const answer = await rawRequest(port, `GET ${hop.repeat(10)}/x HTTP/1.1\r\nHost: x\r\n${line}\r\n\r\n`);
      expect([answer.status, answer.body]).toEqual([508, "OpenSandbox Ingress: request loop detected\n"]);
      await eventually(() => uriProxy.server.inFlight() === 0);
      expect(passes(uriProxy, from)).toBe(4);
      expect(uriProxy.accessLog.slice(from).filter(({ code }) => code === "loop_detected")).toHaveLength(1);
    },
  );

  test("checkLoop ends a loop by host after a first pass by header", async () => {
    const { port, provider } = proxy;
    provider.set({ name: "loop", endpoint: "loop-" + String(port) + ".localhost" });
    const from = proxy.accessLog.length;
    const answer = await rawRequest(port, `GET /x HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: loop-${port}\r\n\r\n`);
    expect(answer.status).toBe(508);
    await eventually(() => proxy.server.inFlight() === 0);
    expect(passes(proxy, from)).toBe(4);
  });
});
