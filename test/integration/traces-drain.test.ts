import { expect, test } from "bun:test";

import { type Clock, systemClock } from "../../src/clock.ts";
import { parseConfig } from "../../src/config/parse-config.ts";
import { createIngress } from "../../src/ingress/ingress.ts";
import { createLogger } from "../../src/log/logger.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { findFreePort } from "../../scripts/lib/free-port.ts";
import { rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { createTableProvider } from "../../scripts/lib/stage/table-provider.ts";
import { createHurriedClock } from "../support/hurried-clock.ts";
import { parsePrometheusText } from "../support/prometheus-text.ts";
import { startRawUpstream } from "../support/raw-upstream.ts";
import { attributesOf, startTraceCollector } from "../support/trace-collector.ts";

const HOSTS = ["--host=127.0.0.1", "--admin-host=127.0.0.1"];
const TIMES = ["--shutdown-delay=0", "--drain-timeout=1s"];

/** An ingress as its environment says, with one sandbox. Metrics are not pushed. */
async function startIngress(env: Readonly<Record<string, string>>, clock: Clock = systemClock) {
  const adminPort = findFreePort();
  const flags = ["--all-namespaces", ...HOSTS, ...TIMES, "--port=0", `--admin-port=${adminPort}`];
  const parsed = parseConfig(flags, { OTEL_METRICS_EXPORTER: "none", ...env });
  if (parsed.kind !== "run") throw new Error(`expected a configuration, not ${parsed.kind}`);
  const lines: string[] = [];
  const write = async (chunk: string) => void lines.push(chunk);
  const provider = createTableProvider();
  provider.set({ name: "sb" });
  const ingress = await createIngress(parsed.config, {
    clock,
    process: { cpuMs: () => 0, residentBytes: () => 0, collectGarbage: () => {} },
    environment: {},
    instance: "test",
    logger: createLogger({ level: "info", format: "text", clock, write }),
    provider,
  });
  const { port } = await ingress.start();
  const ask = async (sandboxPort: number): Promise<number> => {
    const route = `OpenSandbox-Ingress-To: sb-${sandboxPort}`;
    return (await rawRequest(port, `GET / HTTP/1.1\r\nHost: h.test\r\n${route}\r\n\r\n`)).status;
  };
  const countSpans = async (): Promise<Readonly<Record<string, number>>> => {
    const text = await (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text();
    const spans = parsePrometheusText(text).filter(({ name }) => name === "opensandbox_ingress_trace_span_count_total");
    return Object.fromEntries(spans.map(({ labels, value }) => [labels["result"] ?? "", value]));
  };
  return { ingress, lines, ask, countSpans };
}

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

test("ingress.drain pushes the spans that wait", async () => {
  await using sandbox = await startRawUpstream(OK);
  await using collector = startTraceCollector();
  const env = {
    OTEL_TRACES_EXPORTER: "otlp",
    OTEL_TRACES_SAMPLER: "always_on",
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.origin,
    OTEL_EXPORTER_OTLP_HEADERS: "x-key=a%20b",
  };
  const { ingress, ask, countSpans, lines } = await startIngress(env);
  for (let count = 0; count < 3; count++) expect(await ask(sandbox.port)).toBe(200);
  expect(await countSpans()).toEqual({ exported: 0, dropped: 0, failed: 0 });
  await ingress.drain();
  expect(collector.requests.map(({ path }) => path)).toEqual(["/v1/traces"]);
  expect(collector.requests[0]?.headers.get("x-key")).toBe("a b");
  expect(collector.spans()).toHaveLength(6);
  expect(new Set(collector.spans().map((span) => attributesOf(span)["opensandbox.sandbox.id"]))).toEqual(
    new Set(["sb"]),
  );
  expect(lines.join("")).not.toContain("spans of traces were lost");
});

test("ingress.drain does not wait for a collector that never answers, and says what is lost", async () => {
  await using sandbox = await startRawUpstream(OK);
  await using collector = startTraceCollector();
  collector.answer = "silent";
  const env = {
    OTEL_TRACES_EXPORTER: "otlp",
    OTEL_TRACES_SAMPLER: "always_on",
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_TIMEOUT: "60000",
  };
  const { ingress, ask, lines } = await startIngress(env, createHurriedClock(20));
  expect(await ask(sandbox.port)).toBe(200);
  await eventually(() => collector.requests.length === 1);
  expect(await ask(sandbox.port)).toBe(200);
  await ingress.drain();
  expect(lines.join("")).toMatch(/spans of traces were lost.* lost=4\b/);
  // The second request's spans never left: only one push is open at a time.
  expect(collector.requests).toHaveLength(1);
});

test("ingress counts spans that the collector refuses", async () => {
  await using sandbox = await startRawUpstream(OK);
  await using collector = startTraceCollector();
  collector.answer = 500;
  const env = {
    OTEL_TRACES_EXPORTER: "otlp",
    OTEL_TRACES_SAMPLER: "always_on",
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.origin,
  };
  const { ingress, ask, countSpans, lines } = await startIngress(env, createHurriedClock(20));
  expect(await ask(sandbox.port)).toBe(200);
  await eventually(async () => (await countSpans())["failed"] === 2);
  expect(lines.join("")).toContain("cannot push traces: check the collector and the OTEL_* variables");
  await ingress.drain();
});

test("ingress pushes no span and has no metric of them if traces are off, which is the default", async () => {
  await using sandbox = await startRawUpstream(OK);
  await using collector = startTraceCollector();
  const { ingress, ask, countSpans } = await startIngress({
    OTEL_TRACES_SAMPLER: "always_on",
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.origin,
  });
  expect(await ask(sandbox.port)).toBe(200);
  expect(await countSpans()).toEqual({});
  await ingress.drain();
  expect(collector.requests).toHaveLength(0);
});
