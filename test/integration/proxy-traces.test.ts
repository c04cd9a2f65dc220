import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";

import { parseAddressSet } from "../../src/address.ts";
import { SPAN_QUEUE_MAX } from "../../src/traces/span-queue.ts";
import type { Tracer } from "../../src/traces/tracer.ts";
import type { SamplerConfig } from "../../src/traces/traces-config.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw, type RawAnswer, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { acceptKey } from "../../scripts/lib/stage/raw-websocket.ts";
import { startHoldStage } from "../support/hold-stage.ts";
import { headerOf, type RawUpstream, startRawUpstream } from "../support/raw-upstream.ts";
import {
  attributesOf,
  CLIENT,
  createTestTracer,
  ERROR,
  type ReceivedSpan,
  SERVER,
  startTraceCollector,
  type TraceCollector,
} from "../support/trace-collector.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const SPAN = "b7ad6b7169203331";
const PARENT = `00-${TRACE}-${SPAN}-01`;
const STATE = "rojo=00f067aa0ba902b7, congo=t61rcWkgMzE";
const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const UPGRADE = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", `Sec-WebSocket-Key: ${KEY}`];
/** Everything that a span must not contain. */
const SECRETS = ["hunter2", "127.0.0.1", "h.test", "rojo"];

let sandbox: RawUpstream;
let collector: TraceCollector;

beforeAll(async () => {
  sandbox = await startRawUpstream((socket, { line, headerLines }) => {
    if (headerLines.some((header) => /^upgrade:/i.test(header))) {
      const key = headerLines.find((header) => /^sec-websocket-key:/i.test(header))?.split(": ")[1] ?? "";
      const accept = `Sec-WebSocket-Accept: ${acceptKey(key)}`;
      return void socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n${accept}\r\n\r\n`,
      );
    }
    const status = /^\w+ \/(\d{3})/.exec(line)?.[1] ?? "200";
    socket.write(`HTTP/1.1 ${status} X\r\nContent-Length: ${line.includes("/cut") ? 9 : 2}\r\n\r\nok`, "latin1");
    if (line.includes("/cut")) socket.end();
  });
});
afterAll(() => sandbox[Symbol.asyncDispose]());
beforeEach(() => {
  collector = startTraceCollector();
});
afterEach(() => collector[Symbol.asyncDispose]());

interface StageOptions {
  readonly sampler?: SamplerConfig;
  readonly isTrusted?: boolean;
}

/** A proxy whose spans go to the collector; `isTrusted`: the test's own address is a trusted proxy. */
function startTraced({ sampler, isTrusted = true }: StageOptions = {}) {
  const tracer = createTestTracer(collector.url, sampler === undefined ? {} : { sampler });
  const proxy = startTrusting(isTrusted, tracer);
  return {
    proxy,
    tracer,
    /** All spans. Nothing is recorded afterwards. */
    async collect(): Promise<readonly ReceivedSpan[]> {
      await eventually(() => proxy.server.inFlight() === 0);
      await tracer.stop();
      return collector.spans();
    },
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await tracer.stop();
    },
  };
}

function startTrusting(isTrusted: boolean, tracer?: Tracer): ProxyHarness {
  const proxy = startProxy({ trustedProxies: parseAddressSet(isTrusted ? "127.0.0.1" : "none") }, { tracer });
  proxy.provider.set({ name: "sb" });
  return proxy;
}

function headOf(target: string, lines: readonly string[], sandboxPort = sandbox.port): string {
  const route = `OpenSandbox-Ingress-To: sb-${sandboxPort}`;
  return [`${target} HTTP/1.1`, "Host: h.test", route, ...lines, "", ""].join("\r\n");
}

function ask(proxy: ProxyHarness, lines: readonly string[] = [], target = "GET /x?token=hunter2"): Promise<RawAnswer> {
  return rawRequest(proxy.port, headOf(target, lines));
}

const seen = (name: string): string | undefined => headerOf(sandbox.requests.at(-1), name);
const only = (spans: readonly ReceivedSpan[], kind: number): ReceivedSpan => {
  const found = spans.filter((span) => span.kind === kind);
  expect(found).toHaveLength(1);
  const [span] = found;
  if (span === undefined) throw new Error("no span");
  return span;
};

describe("traces are off", () => {
  test.each([
    [PARENT, STATE],
    ["not a trace parent", "not=a=state"],
    [`00-${TRACE}-${SPAN}-00`, "a=1"],
  ])("the proxy passes traceparent %s and its state unchanged", async (parent, state) => {
    for (const isTrusted of [true, false]) {
      await using proxy = startTrusting(isTrusted);
      for (const upgrade of [[], UPGRADE]) {
        await ask(proxy, [`traceparent: ${parent}`, `tracestate: ${state}`, ...upgrade]);
        expect(seen("traceparent")).toBe(parent);
        expect(seen("tracestate")).toBe(state);
      }
    }
    expect(collector.requests).toHaveLength(0);
  });

  test("the proxy adds no trace headers", async () => {
    await using proxy = startTrusting(false);
    await ask(proxy);
    expect([seen("traceparent"), seen("tracestate")]).toEqual([undefined, undefined]);
  });
});

describe("traces are on", () => {
  test("a request has a server span and a client span, and the sandbox gets the context of the latter", async () => {
    await using stage = startTraced();
    const before = Date.now();
    const answer = await ask(stage.proxy, [
      `traceparent: ${PARENT}`,
      `tracestate: ${STATE}`,
      "X-Secret: hunter2",
      "User-Agent: hunter2",
    ]);
    expect(answer.status).toBe(200);
    const spans = await stage.collect();
    const [server, client] = [only(spans, SERVER), only(spans, CLIENT)];
    expect(spans).toHaveLength(2);
    expect(seen("traceparent")).toBe(`00-${TRACE}-${client.spanId}-01`);
    expect(seen("tracestate")).toBe(STATE);
    expect([server.traceId, server.parentSpanId, server.name]).toEqual([TRACE, SPAN, "GET"]);
    expect([client.traceId, client.parentSpanId, client.name]).toEqual([TRACE, server.spanId, "GET"]);
    expect(attributesOf(server)).toEqual({
      "http.request.method": "GET",
      "http.response.status_code": 200,
      "opensandbox.route.form": "header",
      "opensandbox.sandbox.id": "sb",
      "opensandbox.sandbox.port": sandbox.port,
    });
    expect(attributesOf(client)).toEqual({
      "http.request.method": "GET",
      "http.response.status_code": 200,
      "opensandbox.route.form": "header",
      "opensandbox.sandbox.id": "sb",
      "server.port": sandbox.port,
    });
    for (const span of spans) {
      expect(span.status.code).not.toBe(ERROR);
      expect(BigInt(span.startTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(before) * 1_000_000n);
      expect(BigInt(span.endTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(span.startTimeUnixNano));
    }
    expect(BigInt(client.startTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(server.startTimeUnixNano));
  });

  test("a push is JSON over HTTP with the headers of the configuration, and without secrets", async () => {
    await using stage = startTraced();
    await ask(stage.proxy, [`traceparent: ${PARENT}`, `tracestate: ${STATE}`, "Cookie: hunter2"]);
    await ask(stage.proxy, ["Opensandbox-Secure-Access: hunter2"], "GET /hunter2");
    await stage.collect();
    const [push] = collector.requests;
    expect(push?.path).toBe("/v1/traces");
    expect(push?.headers.get("x-key")).toBe("v");
    expect(push?.headers.get("content-type")).toBe("application/json");
    for (const secret of SECRETS) expect(push?.text).not.toContain(secret);
    const [resource] = collector.pushes[0]?.resourceSpans ?? [];
    expect(attributesOf(resource?.resource ?? { attributes: [] })).toEqual({
      "service.name": "opensandbox-ingress-1.2.3",
    });
    expect(resource?.scopeSpans.map(({ scope }) => scope.name)).toEqual(["opensandbox/ingress"]);
  });

  test.each<[string, readonly string[]]>([
    ["no context", []],
    ["a malformed parent", ["traceparent: 00-zz", `tracestate: ${STATE}`]],
    ["two parents", [`traceparent: ${PARENT}`, `traceparent: ${PARENT}`, `tracestate: ${STATE}`]],
    ["a giant parent", [`traceparent: 01-${TRACE}-${SPAN}-01-${"a".repeat(12_000)}`, `tracestate: ${STATE}`]],
    ["a state alone", [`tracestate: ${STATE}`]],
  ])("a request with %s begins a trace, and its state is not passed on", async (_name, lines) => {
    await using stage = startTraced();
    await ask(stage.proxy, lines);
    const spans = await stage.collect();
    const [server, client] = [only(spans, SERVER), only(spans, CLIENT)];
    expect(server.parentSpanId ?? "").toBe("");
    expect(server.traceId).toMatch(/^[0-9a-f]{32}$/);
    expect(server.traceId).not.toBe(TRACE);
    expect(seen("traceparent")).toBe(`00-${server.traceId}-${client.spanId}-01`);
    expect(seen("tracestate")).toBeUndefined();
  });

  test.each<[string, string]>([
    ["giant", `a=${"v".repeat(12_000)}`],
    ["a list of hundreds", Array.from({ length: 1_200 }, (_, at) => `k${at}=v`).join(",")],
    ["one member too long", Array.from({ length: 33 }, (_, at) => `k${at}=v`).join(",")],
    ["malformed", "a=b=c"],
  ])("a state that is %s is dropped, and the trace goes on", async (_name, state) => {
    await using stage = startTraced();
    const answer = await ask(stage.proxy, [`traceparent: ${PARENT}`, `tracestate: ${state}`]);
    expect(answer.status).toBe(200);
    expect(seen("tracestate")).toBeUndefined();
    expect(seen("traceparent")).toStartWith(`00-${TRACE}-`);
  });

  test("a state that Connection names is not passed on, but the sandbox still gets its parent", async () => {
    await using stage = startTraced();
    const lines = ["Connection: traceparent, tracestate", `traceparent: ${PARENT}`, `tracestate: ${STATE}`];
    await ask(stage.proxy, lines);
    const client = only(await stage.collect(), CLIENT);
    expect(seen("traceparent")).toBe(`00-${TRACE}-${client.spanId}-01`);
    expect(seen("tracestate")).toBeUndefined();
  });

  test.each([
    ["GET /500", 500, { server: "500", client: "500" }, { server: true, client: true }],
    ["GET /404", 404, { server: undefined, client: "404" }, { server: false, client: true }],
    ["PROPFIND /x", 200, { server: undefined, client: undefined }, { server: false, client: false }],
  ] as const)(
    "the spans of %s with status %i tell errors as the conventions have it",
    async (target, status, types, errors) => {
      await using stage = startTraced();
      expect((await ask(stage.proxy, [], target)).status).toBe(status);
      const spans = await stage.collect();
      const method = target.startsWith("GET") ? "GET" : "_OTHER";
      for (const [kind, type, isError] of [
        [SERVER, types.server, errors.server],
        [CLIENT, types.client, errors.client],
      ] as const) {
        const span = only(spans, kind);
        const attributes = attributesOf(span);
        expect([attributes["error.type"], attributes["http.response.status_code"]]).toEqual([type, status]);
        expect(span.status.code === ERROR).toBe(isError);
        expect([span.name, attributes["http.request.method"]]).toEqual([method === "GET" ? "GET" : "HTTP", method]);
      }
    },
  );

  test("an answer that the sandbox cuts is an error of both spans", async () => {
    await using stage = startTraced();
    const connection = await openRaw(stage.proxy.port);
    connection.write(headOf("GET /cut", []));
    await connection.closed();
    const spans = await stage.collect();
    for (const kind of [SERVER, CLIENT]) {
      const span = only(spans, kind);
      expect(attributesOf(span)).toMatchObject({ "error.type": "upstream_reset", "http.response.status_code": 200 });
      expect(span.status.code).toBe(ERROR);
    }
  });

  test.each<[string, () => string, string, number, boolean]>([
    ["an unknown sandbox", () => headOf("GET /x", []).replace("sb-", "nobody-"), "sandbox_not_found", 404, false],
    ["no route", () => "GET /x HTTP/1.1\r\nHost: h.test\r\n\r\n", "route_missing", 400, false],
    ["CONNECT", () => "CONNECT h.test:443 HTTP/1.1\r\nHost: h.test:443\r\n\r\n", "method_not_allowed", 405, false],
    ["a bad handshake", () => headOf("GET /x", UPGRADE.slice(0, 3)), "upgrade_invalid", 400, false],
    ["a closed port", () => headOf("GET /x", [], 1), "upstream_refused", 503, true],
    ["a closed port of a WebSocket", () => headOf("GET /x", UPGRADE, 1), "upstream_refused", 503, true],
  ])("a refusal for %s has a server span", async (_name, head, code, status, isForwarded) => {
    await using stage = startTraced();
    const answer = await rawRequest(stage.proxy.port, head().replace("\r\n\r\n", `\r\ntraceparent: ${PARENT}\r\n\r\n`));
    expect(answer.status).toBe(status);
    const spans = await stage.collect();
    const server = only(spans, SERVER);
    expect([server.traceId, server.parentSpanId]).toEqual([TRACE, SPAN]);
    expect(attributesOf(server)).toMatchObject({ "error.type": code, "http.response.status_code": status });
    expect(server.status.code === ERROR).toBe(status >= 500);
    expect(spans).toHaveLength(isForwarded ? 2 : 1);
    if (!isForwarded) return;
    const client = only(spans, CLIENT);
    expect(attributesOf(client)["error.type"]).toBe(code);
    // The sandbox sent no status.
    expect(attributesOf(client)).not.toHaveProperty("http.response.status_code");
    expect(client.status.code).toBe(ERROR);
  });

  test("a request that waits and is tried again has one span of each kind, in the client's trace", async () => {
    const tracer = createTestTracer(collector.url);
    const config = { trustedProxies: parseAddressSet("127.0.0.1") };
    await using stage = startHoldStage({}, { config, parts: { tracer } });
    stage.setUnready("sb");
    const client = await stage.ask("sb", { headers: [`traceparent: ${PARENT}`] });
    await eventually(() => stage.held() === 1);
    // Nothing listens there yet, so the first attempt fails.
    stage.setReady("sb");
    await eventually(() =>
      [...stage.proxy.server.inspection.exchanges()].some(({ patience }) => (patience?.refusals ?? 0) > 0),
    );
    stage.listen();
    expect((await client.readAnswer()).status).toBe(200);
    await eventually(() => stage.proxy.server.inFlight() === 0);
    await tracer.stop();
    const spans = collector.spans();
    expect(spans).toHaveLength(2);
    const [server, sent] = [only(spans, SERVER), only(spans, CLIENT)];
    expect([server.traceId, server.parentSpanId, sent.parentSpanId]).toEqual([TRACE, SPAN, server.spanId]);
    // The wait is the server's.
    expect(BigInt(sent.startTimeUnixNano)).toBeGreaterThan(BigInt(server.startTimeUnixNano));
  });

  test("a probe has no span", async () => {
    await using stage = startTraced();
    expect((await ask(stage.proxy, [`traceparent: ${PARENT}`], "GET /status.ok")).body).toBe("OK");
    expect(await stage.collect()).toEqual([]);
  });

  test("the spans of a WebSocket end when it opens, and its end adds none", async () => {
    await using stage = startTraced();
    const connection = await openRaw(stage.proxy.port);
    connection.write(headOf("GET /ws", [...UPGRADE, `traceparent: ${PARENT}`, `tracestate: ${STATE}`]));
    expect((await connection.readAnswer()).status).toBe(101);
    expect(stage.proxy.server.counters().tunnels).toBe(1);
    const opened = Date.now();
    connection.destroy();
    const spans = await stage.collect();
    expect(spans).toHaveLength(2);
    const client = only(spans, CLIENT);
    expect(seen("traceparent")).toBe(`00-${TRACE}-${client.spanId}-01`);
    expect(seen("tracestate")).toBe(STATE);
    for (const span of spans) {
      expect(attributesOf(span)).toMatchObject({ "http.response.status_code": 101 });
      expect(attributesOf(span)).not.toHaveProperty("error.type");
      expect(BigInt(span.endTimeUnixNano)).toBeLessThanOrEqual(BigInt(opened + 1) * 1_000_000n);
    }
  });
});

describe("sampling", () => {
  const RARE: SamplerConfig = { ratio: 0, isParentBased: true };

  test.each([true, false])("the flag of a trusted peer decides (%p), and the sandbox is told", async (flag) => {
    await using stage = startTraced({ sampler: { ratio: flag ? 0 : 1, isParentBased: true } });
    await ask(stage.proxy, [`traceparent: 00-${TRACE}-${SPAN}-${flag ? "01" : "00"}`, "tracestate: a=1"]);
    expect(seen("traceparent")).toMatch(new RegExp(`^00-${TRACE}-[0-9a-f]{16}-${flag ? "01" : "00"}$`));
    expect(seen("traceparent")).not.toContain(SPAN);
    expect(seen("tracestate")).toBe("a=1");
    expect(await stage.collect()).toHaveLength(flag ? 2 : 0);
  });

  test("the flag of another client does not, in a flood either, whatever trace id it chooses", async () => {
    await using stage = startTraced({ sampler: RARE, isTrusted: false });
    const connection = await openRaw(stage.proxy.port);
    const chosen = `00-${"0".repeat(31)}1-${SPAN}-01`;
    for (let round = 0; round < 100; round++) {
      connection.write(headOf("GET /x", [`traceparent: ${chosen}`]));
      await connection.readAnswer();
    }
    connection.destroy();
    expect(seen("traceparent")).toMatch(/^00-0{31}1-[0-9a-f]{16}-00$/);
    expect(await stage.collect()).toEqual([]);
    expect(stage.tracer.counts()).toEqual({ exported: 0, dropped: 0, failed: 0 });
  });
});

describe("a tracer under attack or without a collector", () => {
  test("records about the ratio of 10,000 requests whose untrusted clients ask for all", async () => {
    await using stage = startTraced({ sampler: { ratio: 0.01, isParentBased: true }, isTrusted: false });
    const head = headOf("GET /x", [`traceparent: 00-${"0".repeat(31)}1-${SPAN}-01`]);
    const flood = async (): Promise<void> => {
      const connection = await openRaw(stage.proxy.port);
      for (let request = 0; request < 500; request++) {
        connection.write(head);
        expect((await connection.readAnswer()).status).toBe(200);
      }
      connection.destroy();
    };
    await Promise.all(Array.from({ length: 20 }, flood));
    const spans = await stage.collect();
    const recorded = spans.filter(({ kind }) => kind === SERVER).length;
    // The standard deviation is 10.
    expect(Math.abs(recorded - 100)).toBeLessThan(80);
    expect(stage.tracer.counts()).toEqual({ exported: 2 * recorded, dropped: 0, failed: 0 });
  }, 60_000);

  test.each([500, 400, "silent"] as const)("goes on serving while the collector answers %p", async (answer) => {
    collector.answer = answer;
    const warnings: string[] = [];
    const warn = (message: string): void => void warnings.push(message);
    const logger = { debug() {}, info() {}, warn, error() {} };
    const tracer = createTestTracer(collector.url, { timeoutMs: 200 }, { logger });
    await using proxy = startTrusting(true, tracer);
    for (let round = 0; round < 3; round++) expect((await ask(proxy)).status).toBe(200);
    for (let request = 0; request < SPAN_QUEUE_MAX + 100; request++) {
      const trace = tracer.begin({ traceparent: PARENT, tracestate: undefined, isTrusted: true, startedAt: 0 });
      trace.end({ method: "GET", status: 200, isFromSandbox: true, code: undefined, route: undefined, endedAt: 1 });
    }
    expect(tracer.counts().dropped).toBeGreaterThanOrEqual(100);
    await eventually(() => tracer.counts().failed > 0);
    expect((await ask(proxy)).status).toBe(200);
    expect(warnings).toContain("cannot push traces: check the collector and the OTEL_* variables");
    // The collector is well again.
    collector.answer = 200;
    await eventually(() => tracer.counts().exported > 0);
    await tracer.stop();
    const { exported, dropped, failed } = tracer.counts();
    expect(exported + dropped + failed).toBeGreaterThanOrEqual(SPAN_QUEUE_MAX + 100 + 8);
    expect(collector.spans().length).toBe(exported);
  });
});
