import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import type { IngressErrorCode } from "../../src/errors.ts";
import { ACCESS_KEYS } from "../support/access-stage.ts";
import { eventually } from "../support/eventually.ts";
import { startFullListener } from "../support/full-listener.ts";
import { type ProxyHarness, startProxy } from "../support/proxy-harness.ts";
import { headerValues, openRaw, type RawAnswer, type RawConnection } from "../support/raw-client.ts";
import { type RawUpstream, startRawUpstream } from "../support/raw-upstream.ts";
import { createTableProvider } from "../support/table-provider.ts";

/** A sandbox that answers by path: well, badly, or not at all. */
function startSandbox(): Promise<RawUpstream> {
  return startRawUpstream((socket, request) => {
    switch (request.line.split(" ")[1]) {
      case "/garbage":
        return void socket.end("this is no HTTP\r\n\r\n");
      case "/ssh":
        return void socket.end("SSH-2.0-OpenSSH_9.6\r\n");
      case "/reset":
        return void socket.destroy();
      case "/half-head":
        return void socket.end("HTTP/1.1 200 OK\r\nContent-Le");
      case "/unasked-101":
        return void socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n");
      case "/hang":
        return;
      default:
        return void socket.write("HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: 2\r\n\r\nok");
    }
  });
}

let sandbox: RawUpstream;
let proxy: ProxyHarness;
let uriProxy: ProxyHarness;

beforeAll(async () => {
  sandbox = await startSandbox();
  proxy = startProxy({ responseTimeoutMs: 600 });
  const { provider } = proxy;
  provider.set({ name: "sb" });
  provider.set({ name: "secured", accessToken: "secret-token" });
  provider.set({ name: "pausing", ready: false, notReady: "sandbox not ready: sandbox pausing is paused" });
  provider.set({ name: "twice", namespace: "one", uid: "uid-1" });
  provider.set({ name: "twice", namespace: "two", uid: "uid-2" });
  provider.set({ name: "mapped", endpoint: "map", ports: new Map([[1234, `127.0.0.1:${sandbox.port}`]]) });
  uriProxy = startProxy({ mode: "uri" }, { provider });
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await uriProxy[Symbol.asyncDispose]();
  await sandbox[Symbol.asyncDispose]();
});

/** The plain form of contract §5, exactly: these headers, this body, and nothing of the sandbox's or Bun's. */
function expectPlainForm(answer: RawAnswer, status: number, message?: string): void {
  expect(answer.status).toBe(status);
  expect(answer.body).toMatch(/^OpenSandbox Ingress: [^\n]+\n$/);
  if (message !== undefined) expect(answer.body).toBe(`OpenSandbox Ingress: ${message}\n`);
  expect(headerValues(answer, "content-type")).toEqual(["text/plain; charset=utf-8"]);
  expect(headerValues(answer, "x-content-type-options")).toEqual(["nosniff"]);
  expect(headerValues(answer, "content-length")).toEqual([String(answer.body.length)]);
  expect(headerValues(answer, "retry-after")).toEqual(status === 503 ? ["1"] : []);
  const expected = ["content-type", "x-content-type-options", "content-length", "retry-after", "connection", "date"];
  expect(answer.headers.map(([name]) => name).filter((name) => !expected.includes(name))).toEqual([]);
}

const GOOD = () => `GET /good HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${sandbox.port}\r\n\r\n`;

/** Whether the same connection serves another request. */
async function isUsable(connection: RawConnection): Promise<boolean> {
  connection.write(GOOD());
  const answer = await connection.readAnswer();
  return answer.status === 200 && answer.body === "ok";
}

const to =
  (id: string, path = "/good", extra = "") =>
  () =>
    `GET ${path} HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: ${id.replace("PORT", String(sandbox.port))}\r\n${extra}\r\n`;
const get =
  (path: string, host = "x") =>
  () =>
    `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

/** What is sent, to which proxy, and the whole of what is told. */
type Row = readonly [
  name: string,
  mode: "header" | "uri",
  request: () => string,
  status: number,
  code: IngressErrorCode,
  /** Where another test fixes the words: undefined. */
  message?: string,
];

const ROWS: readonly Row[] = [
  ["no route", "header", get("/"), 400, "route_missing"],
  ["no port in the header", "header", to("sb"), 400, "route_invalid"],
  ["port 0", "uri", get("/sb/0/x"), 400, "route_invalid"],
  ["port 65536", "uri", get("/sb/65536/x"), 400, "route_invalid"],
  ["a leading zero", "uri", get("/sb/08080/x"), 400, "route_invalid"],
  ["an empty id", "header", get("/", "-1234.x"), 400, "route_invalid"],
  ["a user in Host", "header", get("/", "user@evil"), 400, "host_invalid", "invalid Host header"],
  ["a path in Host", "header", get("/", "evil/x?y"), 400, "host_invalid", "invalid Host header"],
  ["two Hosts", "header", () => "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "host_invalid"],
  ["no credential", "header", to("secured-PORT"), 401, "signature_required", "access denied"],
  [
    "a wrong token",
    "header",
    to("secured-PORT", "/good", "OpenSandbox-Secure-Access: nope\r\n"),
    401,
    "token_mismatch",
    "access denied",
  ],
  ["an unknown sandbox", "header", to("nobody-80"), 404, "sandbox_not_found", "sandbox not found"],
  ["an ambiguous one", "header", to("twice-80"), 502, "sandbox_ambiguous", "sandbox name is ambiguous"],
  [
    "one that is not ready",
    "header",
    to("pausing-80"),
    503,
    "sandbox_not_ready",
    "sandbox not ready: sandbox pausing is paused",
  ],
  ["a port that the map lacks", "header", to("mapped-99"), 503, "sandbox_not_ready", "sandbox not ready"],
  ["a port where nobody listens", "header", to("sb-1"), 503, "upstream_refused", "sandbox refused the connection"],
  ["garbage", "header", to("sb-PORT", "/garbage"), 502, "upstream_protocol", "sandbox sent an invalid answer"],
  ["an SSH banner", "header", to("sb-PORT", "/ssh"), 502, "upstream_protocol", "sandbox sent an invalid answer"],
  ["a reset", "header", to("sb-PORT", "/reset"), 502, "upstream_reset", "sandbox closed the connection"],
  ["half a head", "header", to("sb-PORT", "/half-head"), 502, "upstream_reset", "sandbox closed the connection"],
  ["101 unasked", "header", to("sb-PORT", "/unasked-101"), 502, "upstream_protocol", "sandbox sent an invalid answer"],
  ["no answer in time", "header", to("sb-PORT", "/hang"), 504, "upstream_timeout", "sandbox did not answer in time"],
];

describe("answers", () => {
  test.each(ROWS)("refuse answers %s (%s mode) in the plain form, and the connection stays", async (...row) => {
    const [, mode, request, status, code, message] = row;
    const harness = mode === "uri" ? uriProxy : proxy;
    const connection = await openRaw(harness.port);
    connection.write(request());
    const answer = await connection.readAnswer();
    expectPlainForm(answer, status, message);
    expect(headerValues(answer, "connection")).toEqual([]);
    expect(harness.accessLog.at(-1)).toMatchObject({ status, code });
    if (mode === "header") expect(await isUsable(connection)).toBe(true);
    connection.destroy();
  });

  test("refuse gives every 401 the same bytes, whatever the reason", async () => {
    await using keyed = startProxy({}, { provider: proxy.provider, accessKeys: ACCESS_KEYS });
    const shots = [
      "secured-PORT",
      "secured-PORT-zzzzzz-00000000a",
      "secured-PORT-1-00000000a",
      "secured-PORT-zzzzzz-00000000b",
    ];
    const seen = new Set<string>();
    for (const shot of shots) {
      const connection = await openRaw(keyed.port);
      connection.write(to(shot)());
      const answer = await connection.readAnswer();
      expect(answer.status).toBe(401);
      seen.add(answer.raw.replace(/^date: .*\r\n/im, ""));
      connection.destroy();
    }
    expect(seen.size).toBe(1);
    expect(new Set(keyed.accessLog.map((entry) => entry.code)).size).toBeGreaterThan(2);
  });

  test("refuse answers HEAD with the same head and no body", async () => {
    const connection = await openRaw(proxy.port);
    connection.write("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    const answer = await connection.readAnswer({ head: true });
    expect(answer.status).toBe(400);
    expect(Number(headerValues(answer, "content-length")[0])).toBeGreaterThan(0);
    expect(await isUsable(connection)).toBe(true);
    connection.destroy();
  });

  test("refuse closes the connection where a body has not been read", async () => {
    const connection = await openRaw(proxy.port);
    connection.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nbegin");
    const answer = await connection.readAnswer();
    expectPlainForm(answer, 400);
    expect(headerValues(answer, "connection")).toEqual(["close"]);
    await connection.closed();
  });

  test("createSyncGate answers 503 before the first sync, and 502 where Kubernetes answers with errors", async () => {
    const provider = createTableProvider({ synced: false });
    const impatient = { ...provider, whenSynced: () => Promise.resolve(false) };
    await using unsynced = startProxy({}, { provider: impatient });
    const ask = async (): Promise<RawAnswer> => {
      const connection = await openRaw(unsynced.port);
      connection.write(to("sb-80")());
      return connection.readAnswer().finally(() => connection.destroy());
    };
    expectPlainForm(await ask(), 503, "sandbox list not yet synced");
    provider.setStatus({ fault: "forbidden: secret cause" });
    expectPlainForm(await ask(), 502, "cannot look up sandboxes");
  });

  test("limits answer 503, say which limit in the log, and never count what they refuse", async () => {
    for (const [config, code, message] of [
      [{ maxRequests: 1 }, "too_many_requests", "too many requests in flight"],
      [{ maxRequestsPerSandbox: 1 }, "too_many_requests_sandbox", "too many requests in flight to this sandbox"],
    ] as const) {
      await using limited = startProxy(config, { provider: proxy.provider });
      const first = await openRaw(limited.port);
      first.write(to("sb-PORT", "/hang")());
      await eventually(() => limited.server.inFlight() === 1);
      const second = await openRaw(limited.port);
      second.write(GOOD());
      expectPlainForm(await second.readAnswer(), 503, message);
      expect(limited.accessLog.at(-1)).toMatchObject({ status: 503, code });
      expect(limited.server.inFlight()).toBe(1);
      first.destroy();
      await eventually(() => limited.server.inFlight() === 0);
      expect(await isUsable(second)).toBe(true);
      second.destroy();
    }
  });

  test("handler answers 503 for a sandbox's name that does not resolve within the connect timeout", async () => {
    await using hasty = startProxy({ connectTimeoutMs: 600 }, { provider: proxy.provider });
    hasty.provider.set({ name: "nameless", endpoint: "sandbox.invalid" });
    for (const body of ["", "2\r\nhi\r\n0\r\n\r\n"]) {
      const connection = await openRaw(hasty.port);
      const framing = body === "" ? "" : "Transfer-Encoding: chunked\r\n";
      connection.write(`POST / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: nameless-80\r\n${framing}\r\n${body}`);
      expectPlainForm(await connection.readAnswer(), 503, "sandbox name not yet resolvable");
      connection.destroy();
    }
  });

  test("watchdog answers 502 for a sandbox that answers no handshake, for requests and tunnels", async () => {
    await using full = await startFullListener();
    await using hasty = startProxy({ connectTimeoutMs: 500 }, { provider: proxy.provider });
    const handshake =
      "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    for (const extra of ["", handshake]) {
      const connection = await openRaw(hasty.port);
      connection.write(to(`sb-${full.port}`, "/good", extra)());
      expectPlainForm(await connection.readAnswer(), 502, "cannot reach sandbox");
      expect(hasty.accessLog.at(-1)).toMatchObject({ code: "upstream_unreachable" });
      connection.destroy();
    }
  });

  test("watchdog never takes a sandbox that is slow to answer for one that cannot be reached", async () => {
    await using slow = await startRawUpstream((socket) => {
      setTimeout(() => socket.write("HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: 4\r\n\r\nslow"), 2_500);
    });
    await using hasty = startProxy({ connectTimeoutMs: 300 }, { provider: proxy.provider });
    const connection = await openRaw(hasty.port);
    connection.write(to(`sb-${slow.port}`)());
    const answer = await connection.readAnswer();
    expect([answer.status, answer.body]).toEqual([200, "slow"]);
    connection.destroy();
  });

  test("drain asks clients to close, and refuses nothing that came in time", async () => {
    await using draining = startProxy({}, { provider: proxy.provider });
    draining.server.announceDrain();
    for (const [request, status] of [
      [GOOD(), 200],
      [to("nobody-80")(), 404],
      ["GET /status.ok HTTP/1.1\r\nHost: x\r\n\r\n", 200],
    ] as const) {
      const connection = await openRaw(draining.port);
      connection.write(request);
      const answer = await connection.readAnswer();
      expect([answer.status, headerValues(answer, "connection")]).toEqual([status, ["close"]]);
      await connection.closed();
    }
  });
});
