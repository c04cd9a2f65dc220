import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import type { IngressErrorCode } from "../../src/errors.ts";
import { type Clock, systemClock } from "../../src/clock.ts";
import { createTcpTable } from "../../src/host/tcp-table.ts";
import { SWEEP_INTERVAL_MS } from "../../src/proxy/exchange/watchdog.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { PYTHON_FILL_QUEUE, PYTHON_LISTEN, startPython } from "../support/full-queue.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { headerValues, openRaw, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { type RawUpstream, startRawUpstream } from "../support/raw-upstream.ts";
import { requirePart } from "../support/requires.ts";
import { createTableProvider, type TableProvider } from "../../scripts/lib/stage/table-provider.ts";

const hasPython = requirePart("python3", { get: "apt-get install python3" });

/** The sandbox's answers, by path. Other paths get no answer. */
const ANSWERS: Readonly<Record<string, string>> = {
  "/ok": "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok",
  "/garbage": "this is no answer at all\r\n\r\n",
  "/ssh": "SSH-2.0-OpenSSH_9.2\r\n",
  "/101": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
  "/two-lengths": "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
  "/bad-chunk": "HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
};

let upstream: RawUpstream;
let proxy: ProxyHarness;

beforeAll(async () => {
  upstream = await startRawUpstream((socket, request) => {
    const path = request.line.split(" ")[1] ?? "";
    if (path === "/hangup") return void socket.destroy();
    if (path === "/short") {
      socket.end("HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: 10\r\n\r\nonly");
      return;
    }
    const answer = ANSWERS[path];
    if (answer !== undefined) socket.write(answer, "latin1");
  });
  proxy = startProxy({ responseTimeoutMs: 300, maxBodyBytes: 10 });
  proxy.provider.set({ name: "sb" });
  proxy.provider.set({
    name: "away",
    ready: false,
    notReady: "sandbox not ready: sandbox away not ready (Paused: by hand)",
  });
  proxy.provider.set({ name: "named", endpoint: "named.default.svc.invalid" });
  proxy.provider.set({ name: "mapped", endpoint: "map", ports: new Map([[1, "127.0.0.1:1"]]) });
  proxy.provider.set({ name: "twice", namespace: "one", uid: "uid-1" });
  proxy.provider.set({ name: "twice", namespace: "two", uid: "uid-2" });
  proxy.provider.set({ name: "locked", accessToken: "t" });
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

const ask = (name: string, path = "/ok", extra = "", method = "GET", body = "") =>
  rawRequest(
    proxy.port,
    `${method} ${path} HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: ${name}-${upstream.port}\r\n${extra}\r\n${body}`,
  );

/** Checks the plain form (docs/contract.md §5) and the log line. */
async function expectRefusal(
  answer: Awaited<ReturnType<typeof ask>>,
  expected: { status: number; code: IngressErrorCode; retryAfter?: string },
): Promise<void> {
  expect(answer.status).toBe(expected.status);
  expect(headerValues(answer, "content-type")).toEqual(["text/plain; charset=utf-8"]);
  expect(headerValues(answer, "x-content-type-options")).toEqual(["nosniff"]);
  expect(headerValues(answer, "retry-after")).toEqual(expected.retryAfter === undefined ? [] : [expected.retryAfter]);
  expect(headerValues(answer, "reverse-proxy-server-powerby")).toEqual([]);
  expect(answer.body).toMatch(/^OpenSandbox Ingress: [^\n]+\n$/);
  await eventually(() => proxy.accessLog.at(-1)?.code === expected.code);
}

describe("buildRefusal", () => {
  test.each([
    ["no such sandbox", "nobody", 404, "sandbox_not_found", undefined],
    ["a sandbox that is not ready", "away", 503, "sandbox_not_ready", "1"],
    ["a port that a map lacks", "mapped", 503, "sandbox_not_ready", "1"],
    ["a name in two namespaces", "twice", 502, "sandbox_ambiguous", undefined],
    ["no credential", "locked", 401, "signature_required", undefined],
  ] as const)("buildRefusal answers %s", async (_what, name, status, code, retryAfter) => {
    await expectRefusal(await ask(name), { status, code, ...(retryAfter === undefined ? {} : { retryAfter }) });
  });

  test("buildRefusal tells why a sandbox is not ready", async () => {
    expect((await ask("away")).body).toBe(
      "OpenSandbox Ingress: sandbox not ready: sandbox away not ready (Paused: by hand)\n",
    );
  });

  test.each([
    ["/garbage", "upstream_protocol"],
    ["/ssh", "upstream_protocol"],
    ["/101", "upstream_protocol"],
    ["/hangup", "upstream_reset"],
    ["/short", "upstream_reset"],
  ] as const)("buildRefusal answers a sandbox that sends %s with 502", async (path, code) => {
    await expectRefusal(await ask("sb", path), { status: 502, code });
  });

  test("relayAnswer never turns an answer with two lengths or a bad chunk into a clean one", async () => {
    for (const path of ["/two-lengths", "/bad-chunk"]) {
      const connection = await openRaw(proxy.port);
      connection.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${upstream.port}\r\n\r\n`);
      const answer = await connection.readAnswer().catch(() => undefined);
      expect([undefined, 502]).toContain(answer?.status);
      connection.destroy();
    }
  });

  test("buildRefusal answers a port on which nothing listens with 503 and Retry-After", async () => {
    const answer = await rawRequest(proxy.port, "GET / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-1\r\n\r\n");
    await expectRefusal(answer, { status: 503, code: "upstream_refused", retryAfter: "1" });
  });

  test("buildRefusal answers a sandbox that is silent for --response-timeout with 504", async () => {
    await expectRefusal(await ask("sb", "/never"), { status: 504, code: "upstream_timeout" });
  });

  test("buildRefusal answers a body above --max-body-size with 413, announced or not", async () => {
    const announced = await ask("sb", "/ok", "Content-Length: 11\r\n", "POST", "x".repeat(11));
    await expectRefusal(announced, { status: 413, code: "body_too_large" });
    const chunks = "6\r\nxxxxxx\r\n6\r\nxxxxxx\r\n0\r\n\r\n";
    const chunked = await ask("sb", "/ok", "Transfer-Encoding: chunked\r\n", "POST", chunks);
    await expectRefusal(chunked, { status: 413, code: "body_too_large" });
    expect((await ask("sb", "/ok", "Content-Length: 10\r\n", "POST", "x".repeat(10))).status).toBe(200);
  });

  test("a refusal leaves the connection usable, unless a body is left unread", async () => {
    const connection = await openRaw(proxy.port);
    for (let i = 0; i < 3; i++) {
      connection.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
      expect((await connection.readAnswer()).status).toBe(400);
    }
    connection.write("POST / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: nobody-1\r\nContent-Length: 9\r\n\r\nx");
    const answer = await connection.readAnswer();
    expect(answer.status).toBe(404);
    expect(headerValues(answer, "connection")).toEqual(["close"]);
    connection.destroy();
  });
});

describe("names", () => {
  test("forwardRequest retries a name that does not resolve, within the connect timeout, then answers 503", async () => {
    await using quick = startProxy({ connectTimeoutMs: 600 }, { provider: proxy.provider });
    const request = (extra: string, body: string): string =>
      `POST / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: named-80\r\n${extra}\r\n${body}`;
    for (const [extra, body] of [
      ["Content-Length: 2\r\n", "ok"],
      ["Transfer-Encoding: chunked\r\n", "2\r\nok\r\n0\r\n\r\n"],
    ] as const) {
      const answer = await rawRequest(quick.port, request(extra, body));
      expect([answer.status, headerValues(answer, "retry-after")]).toEqual([503, ["1"]]);
      await eventually(() => quick.accessLog.at(-1)?.code === "upstream_unresolved");
    }
  });
});

describe("first sync", () => {
  test("createSyncGate makes a request wait for the first sync, and never answers 404 before it", async () => {
    const provider = createTableProvider({ synced: false });
    provider.set({ name: "sb" });
    await using early = startProxy({}, { provider });
    const request = `GET /ok HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${upstream.port}\r\n\r\n`;
    const waiting = rawRequest(early.port, request);
    expect((await rawRequest(early.port, "GET /status.ok HTTP/1.1\r\nHost: x\r\n\r\n")).status).toBe(200);
    provider.setStatus({ synced: true });
    expect((await waiting).status).toBe(200);
  });

  test("Watchdog does not count the wait for the first sync as time that the sandbox took", async () => {
    const table = createTableProvider({ synced: false });
    table.set({ name: "sb" });
    let waits = 0;
    const provider: TableProvider = {
      ...table,
      whenSynced(timeoutMs) {
        waits++;
        return table.whenSynced(timeoutMs);
      },
    };
    let aheadMs = 0;
    let sweeps = 0;
    const clock: Clock = {
      now: () => systemClock.now(),
      monotonic: () => systemClock.monotonic() + aheadMs,
      setTimer: (delayMs, fire) =>
        systemClock.setTimer(delayMs, () => {
          fire();
          if (delayMs === SWEEP_INTERVAL_MS) sweeps++;
        }),
    };
    await using slow = await startRawUpstream((socket) => {
      const before = sweeps;
      void eventually(() => sweeps >= before + 2).then(() => socket.write(ANSWERS["/ok"] ?? ""));
    });
    await using early = startProxy({ responseTimeoutMs: 60_000 }, { provider, clock });
    const waiting = rawRequest(
      early.port,
      `GET / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${slow.port}\r\n\r\n`,
    );
    await eventually(() => waits > 0);
    aheadMs = 120_000;
    provider.setStatus({ synced: true });
    expect((await waiting).status).toBe(200);
  });

  test.each([
    [undefined, 503, "not_synced"],
    ["Cannot list batchsandboxes: forbidden", 502, "kubernetes_unavailable"],
  ] as const)(
    "createSyncGate refuses after a while; with fault %j: %d",
    async (fault, status, code) => {
      const provider = createTableProvider({ synced: false });
      provider.setStatus({ fault });
      await using early = startProxy({}, { provider });
      const answer = await rawRequest(early.port, "GET / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-1\r\n\r\n");
      expect(answer.status).toBe(status);
      expect(answer.body).not.toContain("forbidden");
      await eventually(() => early.accessLog.at(-1)?.code === code);
    },
    20_000,
  );
});

describe("limits", () => {
  const never = (port: number, name: string): string =>
    `GET /never HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: ${name}-${port}\r\n\r\n`;

  test("Admission.check refuses requests above either limit with 503, says which limit, and frees the places of ended ones", async () => {
    await using small = startProxy({ maxRequests: 3, maxRequestsPerSandbox: 2 }, { provider: proxy.provider });
    small.provider.set({ name: "other" });
    const open = [await openRaw(small.port), await openRaw(small.port), await openRaw(small.port)];
    open[0]?.write(never(upstream.port, "sb"));
    open[1]?.write(never(upstream.port, "sb"));
    await eventually(() => small.server.inFlight() === 2);
    const perSandbox = await rawRequest(small.port, never(upstream.port, "sb"));
    expect([perSandbox.status, headerValues(perSandbox, "retry-after")]).toEqual([503, ["1"]]);
    expect(small.accessLog.at(-1)?.code).toBe("too_many_requests_sandbox");
    open[2]?.write(never(upstream.port, "other"));
    await eventually(() => small.server.inFlight() === 3);
    const inAll = await rawRequest(small.port, never(upstream.port, "other"));
    expect([inAll.status, headerValues(inAll, "retry-after")]).toEqual([503, ["1"]]);
    expect(small.accessLog.at(-1)?.code).toBe("too_many_requests");
    for (const connection of open) connection.destroy();
    await eventually(() => small.server.inFlight() === 0);
    const after = `GET /ok HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${upstream.port}\r\n\r\n`;
    expect((await rawRequest(small.port, after)).status).toBe(200);
  });

  test("Watchdog visibly cuts a stream that moved nothing for --stream-idle-timeout, and no other", async () => {
    await using strict = startProxy({ streamIdleTimeoutMs: 700 }, { provider: proxy.provider });
    let push: ((text: string) => void) | undefined;
    using events = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () => new Response(new ReadableStream<string>({ start: (c) => void (push = (text) => c.enqueue(text)) })),
    });
    const connection = await openRaw(strict.port);
    connection.write(`GET / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${events.port}\r\n\r\n`);
    await eventually(() => push !== undefined);
    push?.("begun");
    const received = await connection.closed();
    expect(received).toContain("begun");
    expect(received).not.toContain("\r\n0\r\n\r\n");
    expect(strict.accessLog.at(-1)).toMatchObject({ status: 200, code: "upstream_timeout" });
  });
});

describe("connecting", () => {
  test.skipIf(!hasPython)("Watchdog answers 502 after the connect timeout if a sandbox cannot be reached", async () => {
    await using full = startPython(`${PYTHON_LISTEN}${PYTHON_FILL_QUEUE}print(port, flush=True); time.sleep(60)`);
    const port = await full.says();
    await using quick = startProxy({ connectTimeoutMs: 700 }, { provider: proxy.provider });
    const answer = await rawRequest(
      quick.port,
      `GET / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${port}\r\n\r\n`,
    );
    expect(answer.status).toBe(502);
    expect(quick.accessLog.at(-1)).toMatchObject({ code: "upstream_unreachable" });
  });

  test("Watchdog does not take a slow sandbox for one that cannot be reached", async () => {
    const tcp = createTcpTable({ clock: systemClock });
    const asked: Promise<string>[] = [];
    await using quick = startProxy(
      { connectTimeoutMs: 300 },
      {
        provider: proxy.provider,
        connectionState(address, port) {
          const state = tcp.stateOf(address, port);
          asked.push(state);
          return state;
        },
      },
    );
    let answer: (() => void) | undefined;
    await using slow = await startRawUpstream((socket) => {
      answer = () => void socket.write(ANSWERS["/ok"] ?? "");
    });
    const waiting = rawRequest(
      quick.port,
      `GET / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${slow.port}\r\n\r\n`,
    );
    await eventually(() => answer !== undefined);
    // Waits until the kernel has been asked. It knows the connection, so none is opened beside it.
    await eventually(() => asked.length > 0);
    expect(await asked[0]).toBe("established");
    expect(quick.server.inFlight()).toBe(1);
    answer?.();
    expect((await waiting).body).toBe("ok");
    expect(slow.connections).toBe(1);
  });
});
