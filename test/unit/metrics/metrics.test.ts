import { afterEach, expect, test } from "bun:test";
import type { Metrics } from "../../../src/metrics/metrics.ts";
import { createTestMetrics } from "../../support/metrics.ts";
import { parsePrometheusText, type Sample } from "../../support/prometheus-text.ts";

let metrics: Metrics = createTestMetrics();
afterEach(async () => {
  await metrics.stop();
  metrics = createTestMetrics();
});

async function scrape(): Promise<readonly Sample[]> {
  return parsePrometheusText(await metrics.scrape());
}

async function valuesOf(name: string): Promise<readonly (readonly [Readonly<Record<string, string>>, number])[]> {
  const samples = (await scrape()).filter((sample) => sample.name === name);
  return samples.map(({ labels, value }) => [labels, value] as const);
}

test("Metrics.scrape returns text that a strict parser accepts, before and after all metrics were used", async () => {
  await scrape();
  metrics.observe({
    sandboxCounts: () => ({ ready: 1, notReady: 2, ambiguous: 3 }),
    providerStatus: () => ({ synced: true, ageMs: 1.5 }),
    renewIntents: () => ({ published: 4, dropped: 5, throttled: 6, failed: 7, queued: 8, healthy: false }),
    watching: () => ({ lists: { initial: 1, expired: 2 }, watchEnds: { ended: 3 } }),
    openBytes: () => ({ http: { in: 1, out: 2 }, websocket: { in: 3, out: 4 } }),
    droppedLogLines: () => 7,
    memory: () => ({ limit: 8, budget: 9, held: 10 }),
    descriptors: () => ({ open: 11, limit: 12, shortages: 13, exhaustions: 14, idleClosed: 15 }),
    accessFailures: () => ({ failures: 9, exhaustedSandboxes: 2 }),
  });
  for (const [method, status] of [
    ["GET", 200],
    ["GET", 404],
    ["POST", 200],
    ["BREW", 299],
    ["GET", 0],
  ] as const) {
    metrics.requestStarted();
    metrics.requestEnded(method, status, "uri", "http", 12.5);
  }
  metrics.refused("sandbox_not_found");
  metrics.refused("upstream_reset");
  metrics.resolved("not_found", 0.001);
  metrics.connected("dns_error", "websocket", 20_000);
  metrics.answered("http", 3);
  metrics.moved("http", { in: 5, out: 6 });
  metrics.tunnelOpened();
  const names = new Set((await scrape()).map(({ name }) => name));
  for (const name of [
    "http_request_count_total",
    "http_request_duration_bucket",
    "http_request_active",
    "http_refusal_count_total",
    "http_first_byte_duration_bucket",
    "http_body_bytes_total",
    "kubernetes_list_count_total",
    "kubernetes_watch_end_count_total",
    "upstream_failure_count_total",
    "upstream_connect_count_total",
    "upstream_connect_duration_sum",
    "routing_resolutions_count_total",
    "routing_resolution_duration_count",
    "tunnel_active",
    "tunnel_count_total",
    "sandbox_count",
    "sandbox_table_synced",
    "sandbox_table_age",
    "renew_intent_count_total",
    "log_dropped_count_total",
    "memory_limit_bytes",
    "memory_budget_bytes",
    "memory_held_bytes",
    "process_descriptor_open",
    "process_descriptor_limit",
    "process_descriptor_shortage_count_total",
    "connections_idle_closed_count_total",
    "access_failure_count_total",
    "access_sandbox_throttled",
    "build_info",
    "process_cpu_time_total",
    "process_memory_usage_bytes",
    "process_start_time",
    "process_uptime",
    "system_cpu_usage",
    "system_memory_usage_bytes",
  ]) {
    expect(names).toContain(`opensandbox_ingress_${name}`);
  }
});

test("Metrics counts requests by method, status, route form and proxy type", async () => {
  for (let count = 0; count < 3; count += 1) {
    metrics.requestStarted();
    metrics.requestEnded("GET", 200, "header", "http", 1);
  }
  metrics.requestStarted();
  metrics.requestEnded("GET", 101, "host", "websocket", 1);
  expect(await valuesOf("opensandbox_ingress_http_request_count_total")).toEqual([
    [{ http_method: "GET", http_status_code: "200", route_form: "header", proxy_type: "http" }, 3],
    [{ http_method: "GET", http_status_code: "101", route_form: "host", proxy_type: "websocket" }, 1],
  ]);
  expect(await valuesOf("opensandbox_ingress_http_request_duration_count")).toEqual([
    [{ http_method: "GET", http_status_code: "200", proxy_type: "http" }, 3],
    [{ http_method: "GET", http_status_code: "101", proxy_type: "websocket" }, 1],
  ]);
});

test("Metrics shows an outage of Redis while intents still wait: attempts that failed, the queue, and that it lasts", async () => {
  const outage = { published: 4, dropped: 0, throttled: 6, failed: 7, queued: 8 };
  metrics.observe({ renewIntents: () => ({ ...outage, healthy: false }) });
  expect(await valuesOf("opensandbox_ingress_renew_failure_count_total")).toEqual([[{}, 7]]);
  expect(await valuesOf("opensandbox_ingress_renew_intent_queued")).toEqual([[{}, 8]]);
  expect(await valuesOf("opensandbox_ingress_renew_healthy")).toEqual([[{}, 0]]);
  metrics.observe({ renewIntents: () => ({ ...outage, healthy: true }) });
  expect(await valuesOf("opensandbox_ingress_renew_healthy")).toEqual([[{}, 1]]);
});

test("Metrics counts spans by result, if traces are on", async () => {
  metrics.observe({ spans: () => undefined });
  expect(await valuesOf("opensandbox_ingress_trace_span_count_total")).toEqual([]);
  metrics.observe({ spans: () => ({ exported: 3, dropped: 2, failed: 1 }) });
  expect(await valuesOf("opensandbox_ingress_trace_span_count_total")).toEqual([
    [{ result: "exported" }, 3],
    [{ result: "dropped" }, 2],
    [{ result: "failed" }, 1],
  ]);
});

test("Metrics shows when the certificate begins and ends, and what became of changes of its files, only with TLS", async () => {
  expect(await valuesOf("opensandbox_ingress_tls_certificate_expiry_seconds")).toEqual([]);
  expect(await valuesOf("opensandbox_ingress_tls_reload_count_total")).toEqual([]);
  const dates = { validFromMs: 1_700_000_000_000, validToMs: 1_800_000_000_000 };
  metrics.observe({ certificate: () => ({ ...dates, renewals: 3, failures: 2 }) });
  expect(await valuesOf("opensandbox_ingress_tls_certificate_begin_seconds")).toEqual([[{}, 1_700_000_000]]);
  expect(await valuesOf("opensandbox_ingress_tls_certificate_expiry_seconds")).toEqual([[{}, 1_800_000_000]]);
  expect(await valuesOf("opensandbox_ingress_tls_reload_count_total")).toEqual([
    [{ result: "success" }, 3],
    [{ result: "error" }, 2],
  ]);
});

test("Metrics reports only known values of memory and descriptors", async () => {
  expect(await valuesOf("opensandbox_ingress_memory_budget_bytes")).toEqual([]);
  metrics.observe({ memory: () => ({ limit: 3, budget: 2 }), descriptors: () => undefined });
  expect(await valuesOf("opensandbox_ingress_memory_limit_bytes")).toEqual([[{}, 3]]);
  expect(await valuesOf("opensandbox_ingress_memory_budget_bytes")).toEqual([[{}, 2]]);
  expect(await valuesOf("opensandbox_ingress_memory_held_bytes")).toEqual([]);
  expect(await valuesOf("opensandbox_ingress_process_descriptor_open")).toEqual([]);
  metrics.observe({ descriptors: () => ({ open: 11, limit: 12, shortages: 13, exhaustions: 14, idleClosed: 15 }) });
  expect(await valuesOf("opensandbox_ingress_process_descriptor_open")).toEqual([[{}, 11]]);
  expect(await valuesOf("opensandbox_ingress_process_descriptor_shortage_count_total")).toEqual([
    [{ pressure: "short" }, 13],
    [{ pressure: "exhausted" }, 14],
  ]);
  expect(await valuesOf("opensandbox_ingress_connections_idle_closed_count_total")).toEqual([[{}, 15]]);
});

test("Metrics shows guesses at signatures: those that failed, and the sandboxes whose budget is used up", async () => {
  metrics.observe({ accessFailures: () => ({ failures: 1_009, exhaustedSandboxes: 1 }) });
  expect(await valuesOf("opensandbox_ingress_access_failure_count_total")).toEqual([[{}, 1_009]]);
  expect(await valuesOf("opensandbox_ingress_access_sandbox_throttled")).toEqual([[{}, 1]]);
});

test("Metrics counts open requests and tunnels", async () => {
  metrics.requestStarted();
  metrics.requestStarted();
  metrics.requestEnded("GET", 200, "header", "http", 1);
  metrics.tunnelOpened();
  metrics.tunnelOpened();
  metrics.tunnelClosed();
  expect(await valuesOf("opensandbox_ingress_http_request_active")).toEqual([[{}, 1]]);
  expect(await valuesOf("opensandbox_ingress_tunnel_active")).toEqual([[{}, 1]]);
  expect(await valuesOf("opensandbox_ingress_tunnel_count_total")).toEqual([[{}, 2]]);
});

test("Metrics tells of requests that wait, and of wakes by the reference's names", async () => {
  metrics.observe({ waits: () => ({ held: 7, waking: 2 }) });
  metrics.wakeAsked("triggered");
  metrics.wakeAsked("joined");
  metrics.wakeAsked("joined");
  metrics.parked();
  metrics.parked();
  metrics.unparked("served", 6_000);
  metrics.parkShed();
  expect(await valuesOf("opensandbox_ingress_hold_active")).toEqual([[{}, 7]]);
  expect(await valuesOf("opensandbox_ingress_wake_active")).toEqual([[{}, 2]]);
  expect(await valuesOf("opensandbox_ingress_wake_flights_total")).toEqual([
    [{ outcome: "triggered" }, 1],
    [{ outcome: "joined" }, 2],
  ]);
  expect(await valuesOf("opensandbox_ingress_park_active")).toEqual([[{}, 1]]);
  expect(await valuesOf("opensandbox_ingress_park_shed_total")).toEqual([[{}, 1]]);
  expect(await valuesOf("opensandbox_ingress_park_wait_duration_sum")).toEqual([[{ outcome: "served" }, 6]]);
});

test("Metrics counts refusals by code, and those that a sandbox caused by kind too", async () => {
  metrics.refused("route_missing");
  metrics.refused("upstream_refused");
  metrics.refused("upstream_refused");
  expect(await valuesOf("opensandbox_ingress_http_refusal_count_total")).toEqual([
    [{ code: "route_missing" }, 1],
    [{ code: "upstream_refused" }, 2],
  ]);
  expect(await valuesOf("opensandbox_ingress_upstream_failure_count_total")).toEqual([[{ kind: "refused" }, 2]]);
});

test("Metrics counts faults of its own from zero on", async () => {
  metrics.refused("route_missing");
  expect(await valuesOf("opensandbox_ingress_http_fault_count_total")).toEqual([[{}, 0]]);
  metrics.refused("internal");
  expect(await valuesOf("opensandbox_ingress_http_fault_count_total")).toEqual([[{}, 1]]);
});

test("Metrics adds what is open to the bytes of what has ended", async () => {
  metrics.moved("http", { in: 5, out: 6 });
  metrics.moved("websocket", { in: 7, out: 8 });
  metrics.observe({ openBytes: () => ({ http: { in: 10, out: 20 }, websocket: { in: 30, out: 40 } }) });
  expect(await valuesOf("opensandbox_ingress_http_body_bytes_total")).toEqual([
    [{ direction: "in", proxy_type: "http" }, 15],
    [{ direction: "out", proxy_type: "http" }, 26],
    [{ direction: "in", proxy_type: "websocket" }, 37],
    [{ direction: "out", proxy_type: "websocket" }, 48],
  ]);
});

test("Metrics puts a duration into the bucket whose bound it does not exceed", async () => {
  for (const durationMs of [0, 5, 5.001, 10_001]) metrics.connected("success", "websocket", durationMs);
  const buckets = await valuesOf("opensandbox_ingress_upstream_connect_duration_bucket");
  expect(buckets.map(([labels, value]) => [labels["le"], value])).toEqual([
    ["0", 1],
    ["5", 2],
    ...["10", "25", "50", "75", "100", "250", "500", "750", "1000", "2500", "5000", "7500", "10000"].map((le) => [
      le,
      3,
    ]),
    ["+Inf", 4],
  ]);
});

/** Every method, status and form that hostile clients and sandboxes can think of. */
/** Some thirty thousand requests, on a busy machine. */
const FLOOD_MAX_MS = 60_000;

function floodWithLabels(): number {
  let requests = 0;
  const methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
  for (let status = -5; status < 1_200; status += 1) {
    for (const method of [...methods, `M${status}`]) {
      for (const form of ["header", "host", "none"] as const) {
        metrics.requestStarted();
        metrics.requestEnded(method, status, form, "http", 1);
        requests += 1;
      }
    }
    metrics.requestStarted();
    metrics.requestEnded("GET", status, "host", "websocket", 1);
    requests += 1;
  }
  return requests;
}

test(
  "Metrics bounds its series for any methods and statuses",
  async () => {
    const requests = floodWithLabels();
    const series = await valuesOf("opensandbox_ingress_http_request_count_total");
    expect(series.length).toBeLessThan(1_200);
    expect(series.reduce((total, [, value]) => total + value, 0)).toBe(requests);
    expect(await valuesOf("opensandbox_ingress_http_request_duration_count")).toHaveLength(
      new Set(
        series.map(([labels]) => `${labels["http_method"]} ${labels["http_status_code"]} ${labels["proxy_type"]}`),
      ).size,
    );
  },
  FLOOD_MAX_MS,
);

test(
  "Metrics counts a request with its own method and status, even after a flood of others",
  async () => {
    floodWithLabels();
    const labels = { http_method: "GET", http_status_code: "200", route_form: "uri", proxy_type: "http" };
    metrics.requestStarted();
    metrics.requestEnded("GET", 200, "uri", "http", 1);
    const series = await valuesOf("opensandbox_ingress_http_request_count_total");
    expect(series).toContainEqual([labels, 1]);
  },
  FLOOD_MAX_MS,
);

test("Metrics counts a status without a series of its own with its class, and one outside of 100 to 599 as _OTHER", async () => {
  for (const status of [299, 250, 418, 199, 399, 599, 600, 99, 0, -1, Number.NaN]) {
    metrics.requestStarted();
    metrics.requestEnded("GET", status, "host", "http", 1);
  }
  const series = await valuesOf("opensandbox_ingress_http_request_count_total");
  expect(Object.fromEntries(series.map(([labels, value]) => [labels["http_status_code"], value]))).toEqual({
    "1xx": 1,
    "2xx": 2,
    "3xx": 1,
    "4xx": 1,
    "5xx": 1,
    _OTHER: 5,
  });
});

test("Metrics.scrape goes on after stop", async () => {
  await metrics.stop();
  metrics.refused("draining");
  expect(await valuesOf("opensandbox_ingress_http_refusal_count_total")).toEqual([[{ code: "draining" }, 1]]);
});
