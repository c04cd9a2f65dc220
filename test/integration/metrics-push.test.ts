import { afterEach, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import type { OtlpConfig } from "../../src/metrics/otlp-config.ts";
import { silentLogger } from "../../src/log/logger.ts";
import { createTestMetrics } from "../support/metrics.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { parsePrometheusText } from "../support/prometheus-text.ts";

interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue?: string; readonly intValue?: number };
}
interface Point {
  readonly attributes: readonly Attribute[];
  readonly asDouble?: number;
  readonly asInt?: number;
  readonly count?: number;
  readonly sum?: number;
  readonly bucketCounts?: readonly number[];
}
interface Series {
  readonly aggregationTemporality?: number;
  readonly isMonotonic?: boolean;
  readonly dataPoints: readonly Point[];
}
interface Metric {
  readonly name: string;
  readonly unit: string;
  readonly sum?: Series;
  readonly gauge?: Series;
  readonly histogram?: Series;
}
interface Push {
  readonly resourceMetrics: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeMetrics: readonly {
      readonly scope: { readonly name: string };
      readonly metrics: readonly Metric[];
    }[];
  }[];
}

function isPush(value: unknown): value is Push {
  return typeof value === "object" && value !== null && "resourceMetrics" in value;
}

/** OTLP's numbers for temporality. */
const DELTA = 1;
const CUMULATIVE = 2;
/** Long enough that only `stop` pushes in a test. */
const NEVER_MS = 3_600_000;

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

/** An OTLP receiver that keeps what it gets. */
function createCollector() {
  const pushes: Push[] = [];
  const requests: { readonly path: string; readonly headers: Headers }[] = [];
  const state = { status: 200 };
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request) {
      requests.push({ path: new URL(request.url).pathname, headers: request.headers });
      const push: unknown = await request.json();
      if (state.status === 200 && isPush(push)) pushes.push(push);
      return Response.json({}, { status: state.status });
    },
  });
  cleanUps.push(() => server.stop(true));
  const metrics = () =>
    pushes.map((push) => push.resourceMetrics.flatMap((each) => each.scopeMetrics.flatMap((s) => s.metrics)));
  return { pushes, requests, state, metrics, url: `http://127.0.0.1:${server.port}/v1/metrics` };
}

function buildOtlp(url: string, options: Partial<OtlpConfig> = {}): OtlpConfig {
  return { url, temporality: "delta", intervalMs: NEVER_MS, timeoutMs: 10_000, headers: { "x-key": "v" }, ...options };
}

function attributesOf(point: Point | undefined): Record<string, string | number | undefined> {
  return Object.fromEntries(
    (point?.attributes ?? []).map(({ key, value }) => [key, value.stringValue ?? value.intValue] as const),
  );
}

test("Metrics pushes over OTLP with delta temporality, and scrape and push agree", async () => {
  const collector = createCollector();
  const metrics = createTestMetrics({ otlp: buildOtlp(collector.url) });
  metrics.observe({ sandboxCounts: () => ({ ready: 9, notReady: 0, ambiguous: 0 }) });
  for (const durationMs of [1, 30]) {
    metrics.requestStarted();
    metrics.requestEnded("GET", 200, "header", "http", durationMs);
  }
  metrics.requestStarted();
  const scraped = parsePrometheusText(await metrics.scrape());
  await metrics.stop();

  expect(collector.requests).toHaveLength(1);
  expect(collector.requests[0]?.path).toBe("/v1/metrics");
  expect(collector.requests[0]?.headers.get("x-key")).toBe("v");
  expect(collector.requests[0]?.headers.get("content-type")).toBe("application/json");
  const [resource] = collector.pushes[0]?.resourceMetrics ?? [];
  expect(resource?.resource.attributes).toEqual([
    { key: "service.name", value: { stringValue: "opensandbox-ingress-1.2.3" } },
  ]);
  expect(new Set(resource?.scopeMetrics.map(({ scope }) => scope.name))).toEqual(new Set(["opensandbox/ingress"]));

  const find = (name: string) => collector.metrics()[0]?.find((metric) => metric.name === name);
  const count = find("ingress.http.request.count");
  expect(count?.sum).toMatchObject({ aggregationTemporality: DELTA, isMonotonic: true });
  expect(attributesOf(count?.sum?.dataPoints[0])).toEqual({
    http_method: "GET",
    http_status_code: 200,
    route_form: "header",
    proxy_type: "http",
  });
  expect(count?.sum?.dataPoints.map(({ asDouble, asInt }) => asDouble ?? asInt)).toEqual([2]);
  const duration = find("ingress.http.request.duration");
  expect(duration?.unit).toBe("ms");
  expect(duration?.histogram?.aggregationTemporality).toBe(DELTA);
  expect(duration?.histogram?.dataPoints).toMatchObject([{ count: 2, sum: 31 }]);
  expect(duration?.histogram?.dataPoints[0]?.bucketCounts?.slice(0, 5)).toEqual([0, 1, 0, 0, 1]);
  expect(find("ingress.http.request.active")?.sum).toMatchObject({ aggregationTemporality: CUMULATIVE });
  expect(find("ingress.sandbox.count")?.gauge?.dataPoints).toHaveLength(3);

  const names = scraped.map((sample) => sample.name);
  for (const { name } of collector.metrics()[0] ?? []) {
    const prefix = `opensandbox_${name.replaceAll(".", "_")}`;
    expect(names.some((each) => each.startsWith(prefix))).toBe(true);
  }
});

test.each([
  ["delta", DELTA],
  ["lowmemory", DELTA],
  ["cumulative", CUMULATIVE],
] as const)("Metrics pushes what temporality %s asks for, time after time", async (temporality, wire) => {
  const collector = createCollector();
  const metrics = createTestMetrics({ otlp: buildOtlp(collector.url, { temporality, intervalMs: 100 }) });
  const end = () => {
    metrics.requestStarted();
    metrics.requestEnded("GET", 200, "header", "http", 1);
  };
  end();
  end();
  // A scrape in between takes nothing from a push.
  await metrics.scrape();
  await eventually(() => collector.pushes.length > 0);
  end();
  await metrics.stop();
  for (const name of ["ingress.http.request.count", "ingress.http.request.duration"]) {
    const series = collector
      .metrics()
      .map((each) => each.find((one) => one.name === name))
      .map((metric) => metric?.sum ?? metric?.histogram)
      .filter((each) => each !== undefined);
    expect(new Set(series.map((each) => each.aggregationTemporality))).toEqual(new Set([wire]));
    const counts = series.map(({ dataPoints: [point] }) => point?.count ?? point?.asDouble ?? point?.asInt ?? 0);
    expect(counts[0]).toBe(2);
    if (wire === CUMULATIVE) expect(counts.at(-1)).toBe(3);
    else expect(counts.reduce((total, count) => total + count)).toBe(3);
  }
});

test("Metrics logs when pushing fails, not each time, and when it works again", async () => {
  const collector = createCollector();
  collector.state.status = 400;
  const lines: string[] = [];
  const metrics = createTestMetrics({
    otlp: buildOtlp(collector.url, { intervalMs: 100 }),
    logger: {
      ...silentLogger,
      warn: (message, fields) => lines.push(`${message} ${String(fields?.["failures"])}`),
      info: (message, fields) => lines.push(`${message} ${String(fields?.["failures"])}`),
    },
  });
  await eventually(() => collector.requests.length >= 4);
  await eventually(() => lines.length === 3);
  collector.state.status = 200;
  await eventually(() => collector.pushes.length > 0);
  await metrics.stop();
  const fault = "cannot push metrics: check the collector and the OTEL_* variables";
  expect(lines.slice(0, 3)).toEqual([1, 2, 4].map((count) => `${fault} ${count}`));
  expect(lines.slice(3).every((line) => line.startsWith("pushing metrics works again"))).toBe(true);
  expect(lines).toHaveLength(4);
});

test("Metrics.stop does not wait for a collector that never answers", async () => {
  const silent = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  cleanUps.push(() => silent.stop(true));
  const fired: (() => void)[] = [];
  const metrics = createTestMetrics({
    otlp: buildOtlp(`http://127.0.0.1:${silent.port}/v1/metrics`),
    clock: {
      ...systemClock,
      setTimer(_delayMs, fire) {
        fired.push(fire);
        return { cancel() {} };
      },
    },
  });
  const stopped = metrics.stop();
  // The last timer set is that of the flush: the collector has had its time.
  fired.at(-1)?.();
  await stopped;
});
