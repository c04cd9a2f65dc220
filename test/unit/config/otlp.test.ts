import { describe, expect, test } from "bun:test";
import { readOtlp } from "../../../src/config/otlp.ts";

const ENDPOINT = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318" } as const;

describe("readOtlp finds the endpoint", () => {
  test.each<[Readonly<Record<string, string>>, string]>([
    [ENDPOINT, "http://collector:4318/v1/metrics"],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: "https://c/base/" }, "https://c/base/v1/metrics"],
    [{ OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: "http://m:1/as/is" }, "http://m:1/as/is"],
    [{ ...ENDPOINT, OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: "http://m:1/" }, "http://m:1/"],
    [{ ...ENDPOINT, OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: "" }, "http://collector:4318/v1/metrics"],
    [{ HOST_IP: "10.0.0.9" }, "http://10.0.0.9:4318/v1/metrics"],
    [{ HOST_IP: "fd00::9" }, "http://[fd00::9]:4318/v1/metrics"],
    [{ ...ENDPOINT, HOST_IP: "10.0.0.9" }, "http://collector:4318/v1/metrics"],
    [{ ...ENDPOINT, OTEL_METRICS_EXPORTER: "otlp", OTEL_SDK_DISABLED: "false" }, "http://collector:4318/v1/metrics"],
  ])("in %j", (env, url) => {
    const warnings: string[] = [];
    expect(readOtlp(env, warnings)?.url).toBe(url);
    expect(warnings).toEqual([]);
  });

  test.each([
    [{}, "10.0.0.9\n", "http://10.0.0.9:4318/v1/metrics"],
    [{ HOST_IP: "" }, "fd00::9", "http://[fd00::9]:4318/v1/metrics"],
    [{ HOST_IP: "10.0.0.1" }, "10.0.0.9", "http://10.0.0.1:4318/v1/metrics"],
    [ENDPOINT, "10.0.0.9", "http://collector:4318/v1/metrics"],
  ])("in %j and the file with %j", (env, hostInfo, url) => {
    expect(readOtlp(env, [], hostInfo)?.url).toBe(url);
  });

  test("nowhere in a file without an address, with a warning", () => {
    const warnings: string[] = [];
    expect(readOtlp({}, warnings, "name: node-1")).toBeUndefined();
    expect(warnings).toEqual(['/etc/hostinfo: "name: node-1" is ignored: expected an IP address']);
  });

  test.each<Readonly<Record<string, string>>>([
    {},
    { HOST_IP: "" },
    { ...ENDPOINT, OTEL_SDK_DISABLED: "TRUE" },
    { ...ENDPOINT, OTEL_METRICS_EXPORTER: "none" },
  ])("nowhere in %j", (env) => {
    const warnings: string[] = [];
    expect(readOtlp(env, warnings)).toBeUndefined();
    expect(warnings).toEqual([]);
  });
});

test("readOtlp reads temporality, interval and headers", () => {
  const warnings: string[] = [];
  const env = {
    ...ENDPOINT,
    OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: "Cumulative",
    OTEL_METRIC_EXPORT_INTERVAL: "5000",
    OTEL_EXPORTER_OTLP_HEADERS: "Authorization=Bearer%20x, a=1",
    OTEL_EXPORTER_OTLP_METRICS_HEADERS: "A=2",
  };
  expect(readOtlp(env, warnings)).toEqual({
    url: "http://collector:4318/v1/metrics",
    temporality: "cumulative",
    intervalMs: 5_000,
    timeoutMs: 10_000,
    headers: { authorization: "Bearer x", a: "2" },
  });
  expect(readOtlp(ENDPOINT, warnings)).toMatchObject({ temporality: "delta", intervalMs: 60_000, headers: {} });
  expect(warnings).toEqual([]);
});

test.each<[Readonly<Record<string, string>>]>([
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4318" }],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: "https://u:hunter2@c" }],
  [{ OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: "ftp://c" }],
  [{ HOST_IP: "node-1" }],
  [{ ...ENDPOINT, OTEL_METRICS_EXPORTER: "console" }],
  [{ ...ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" }],
  [{ ...ENDPOINT, OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: "sideways" }],
  [{ ...ENDPOINT, OTEL_METRIC_EXPORT_INTERVAL: "0" }],
  [{ ...ENDPOINT, OTEL_METRIC_EXPORT_INTERVAL: "1m" }],
  [{ ...ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS: "hunter2" }],
  [{ ...ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS: "a b=hunter2" }],
  [{ ...ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS: "a=hunter2%0d%0ab" }],
  [{ ...ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS: "a=hunter2%" }],
])("readOtlp warns once about %j and repeats no secret", (env) => {
  const warnings: string[] = [];
  readOtlp(env, warnings);
  expect(warnings).toHaveLength(1);
  expect(warnings.join()).not.toContain("hunter2");
});
