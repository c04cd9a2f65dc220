import { afterEach, expect, test } from "bun:test";
import type { Metrics } from "../../../src/metrics.ts";
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

test("Metrics.scrape gives text that a strict parser takes, before and after everything was used", async () => {
  await scrape();
  metrics.observe({
    sandboxCounts: () => ({ ready: 1, notReady: 2, ambiguous: 3 }),
    providerStatus: () => ({ synced: true, ageMs: 1.5 }),
    renewIntents: () => ({ published: 4, dropped: 5, throttled: 6, failed: 7, queued: 8, healthy: false }),
    droppedLogLines: () => 7,
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
  metrics.tunnelOpened();
  const names = new Set((await scrape()).map(({ name }) => name));
  for (const name of [
    "http_request_count_total",
    "http_request_duration_bucket",
    "http_request_active",
    "http_refusal_count_total",
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

test("Metrics shows guesses at signatures: those that failed, and the sandboxes whose budget is used up", async () => {
  metrics.observe({ accessFailures: () => ({ failures: 1_009, exhaustedSandboxes: 1 }) });
  expect(await valuesOf("opensandbox_ingress_access_failure_count_total")).toEqual([[{}, 1_009]]);
  expect(await valuesOf("opensandbox_ingress_access_sandbox_throttled")).toEqual([[{}, 1]]);
});

test("Metrics counts what is open", async () => {
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

test("Metrics bounds its series, whatever methods and statuses come", async () => {
  for (let status = -5; status < 700; status += 1) {
    for (const method of ["GET", "POST", "PUT", `M${status}`]) {
      for (const form of ["header", "host", "uri", "none"] as const) {
        metrics.requestStarted();
        metrics.requestEnded(method, status, form, "http", 1);
      }
    }
  }
  const series = await valuesOf("opensandbox_ingress_http_request_count_total");
  expect(series.length).toBeLessThan(1_100);
  expect(series.reduce((total, [, value]) => total + value, 0)).toBe(705 * 16);
  const other = series.filter(([labels]) => labels["http_status_code"] === "_OTHER");
  expect(other.length).toBeGreaterThan(0);
  expect(new Set(series.map(([labels]) => labels["http_method"]))).toEqual(new Set(["GET", "POST", "PUT", "_OTHER"]));
});

test("Metrics.scrape goes on after stop", async () => {
  await metrics.stop();
  metrics.refused("draining");
  expect(await valuesOf("opensandbox_ingress_http_refusal_count_total")).toEqual([[{ code: "draining" }, 1]]);
});
