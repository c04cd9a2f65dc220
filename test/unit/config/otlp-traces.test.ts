import { describe, expect, test } from "bun:test";
import { readOtlp } from "../../../src/config/otlp.ts";
import { readTraces } from "../../../src/config/otlp-traces.ts";

type Env = Readonly<Record<string, string>>;
const ON = { OTEL_TRACES_EXPORTER: "otlp" } as const;
const DEFAULT_SAMPLER = { ratio: 0.01, isParentBased: true };

function readQuietly(env: Env, hostInfo?: string) {
  const warnings: string[] = [];
  const traces = readTraces(env, warnings, hostInfo);
  expect(warnings).toEqual([]);
  return traces;
}

describe("readTraces", () => {
  test.each<Env>([
    {},
    { OTEL_EXPORTER_OTLP_ENDPOINT: "http://c:4318", HOST_IP: "10.0.0.9" },
    { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://c:4318" },
    { OTEL_TRACES_EXPORTER: "" },
    { OTEL_TRACES_EXPORTER: "none" },
    { OTEL_TRACES_EXPORTER: "otlp,none" },
    { ...ON, OTEL_SDK_DISABLED: "TRUE" },
  ])("readTraces leaves traces off in %j", (env) => {
    expect(readQuietly(env)).toBeUndefined();
  });

  test.each<[Env, string]>([
    [ON, "http://localhost:4318/v1/traces"],
    [{ ...ON, OTEL_EXPORTER_OTLP_ENDPOINT: "http://c:4318" }, "http://c:4318/v1/traces"],
    [{ ...ON, OTEL_EXPORTER_OTLP_ENDPOINT: "https://c/base/" }, "https://c/base/v1/traces"],
    [{ ...ON, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://t/as/is" }, "http://t/as/is"],
    [{ ...ON, OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: "http://m/" }, "http://localhost:4318/v1/traces"],
    [{ ...ON, HOST_IP: "fd00::9" }, "http://[fd00::9]:4318/v1/traces"],
    [{ ...ON, OTEL_METRICS_EXPORTER: "none", HOST_IP: "10.0.0.9" }, "http://10.0.0.9:4318/v1/traces"],
  ])("readTraces finds the endpoint in %j", (env, url) => {
    expect(readQuietly(env)?.url).toBe(url);
  });

  test("readTraces takes the node of the file", () => {
    expect(readQuietly(ON, "10.0.0.9\n")?.url).toBe("http://10.0.0.9:4318/v1/traces");
  });

  test("readTraces reads headers, time limit and defaults", () => {
    const env = {
      ...ON,
      OTEL_EXPORTER_OTLP_HEADERS: "Authorization=Bearer%20x, a=1",
      OTEL_EXPORTER_OTLP_TRACES_HEADERS: "A=2",
      OTEL_EXPORTER_OTLP_METRICS_HEADERS: "A=3",
      OTEL_EXPORTER_OTLP_TIMEOUT: "7000",
    };
    expect(readQuietly(env)).toEqual({
      url: "http://localhost:4318/v1/traces",
      headers: { authorization: "Bearer x", a: "2" },
      timeoutMs: 7_000,
      sampler: DEFAULT_SAMPLER,
    });
    expect(readQuietly({ ...env, OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: "1" })?.timeoutMs).toBe(1);
    expect(readQuietly(ON)).toMatchObject({ headers: {}, timeoutMs: 10_000 });
  });

  test("readTraces and readOtlp read the same variables, and warn once of what they share", () => {
    const warnings: string[] = [];
    const env = { ...ON, HOST_IP: "node-1", OTEL_EXPORTER_OTLP_TIMEOUT: "soon", OTEL_EXPORTER_OTLP_HEADERS: "hunter2" };
    expect(readOtlp(env, warnings, "10.0.0.1")).toBeUndefined();
    expect(readTraces(env, warnings)).toMatchObject({ timeoutMs: 10_000, headers: {} });
    const shared = { ...env, HOST_IP: "10.0.0.9" };
    expect(readOtlp(shared, warnings)).toMatchObject({ timeoutMs: 10_000, headers: {} });
    expect(warnings).toHaveLength(3);
    const own = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://c", OTEL_EXPORTER_OTLP_METRICS_TIMEOUT: "2500" };
    expect(readOtlp(own, [])?.timeoutMs).toBe(2_500);
  });
});

describe("readTraces reads the sampler", () => {
  test.each<[string, string, { ratio: number; isParentBased: boolean }]>([
    ["", "", DEFAULT_SAMPLER],
    ["", "0.5", { ratio: 0.5, isParentBased: true }],
    ["parentbased_traceidratio", "1", { ratio: 1, isParentBased: true }],
    ["parentbased_traceidratio", "", DEFAULT_SAMPLER],
    ["ParentBased_TraceIdRatio", "0", { ratio: 0, isParentBased: true }],
    ["traceidratio", ".25", { ratio: 0.25, isParentBased: false }],
    ["traceidratio", "1e-3", { ratio: 0.001, isParentBased: false }],
    ["traceidratio", "", { ratio: 0.01, isParentBased: false }],
    ["always_on", "0.5", { ratio: 1, isParentBased: false }],
    ["always_off", "", { ratio: 0, isParentBased: false }],
    ["parentbased_always_on", "", { ratio: 1, isParentBased: true }],
    ["parentbased_always_off", "nonsense", { ratio: 0, isParentBased: true }],
  ])("%j with %j", (name, ratio, sampler) => {
    expect(readQuietly({ ...ON, OTEL_TRACES_SAMPLER: name, OTEL_TRACES_SAMPLER_ARG: ratio })?.sampler).toEqual(sampler);
  });

  test.each(["jaeger_remote", "xray", "toString", "always", "0.1"])("and warns of the unknown sampler %s", (name) => {
    const warnings: string[] = [];
    const env = { ...ON, OTEL_TRACES_SAMPLER: name, OTEL_TRACES_SAMPLER_ARG: "1" };
    expect(readTraces(env, warnings)?.sampler).toEqual(DEFAULT_SAMPLER);
    expect(warnings).toEqual([
      `OTEL_TRACES_SAMPLER: "${name}" is ignored: expected one of always_on, always_off, traceidratio, ` +
        "parentbased_always_on, parentbased_always_off, parentbased_traceidratio",
    ]);
  });

  test.each(["1.01", "-0.1", "10%", "NaN", "Infinity", "0x1", "1,0", "half", "1e9"])(
    "and warns of ratio %s",
    (text) => {
      const warnings: string[] = [];
      expect(readTraces({ ...ON, OTEL_TRACES_SAMPLER_ARG: text }, warnings)?.sampler).toEqual(DEFAULT_SAMPLER);
      expect(warnings).toEqual([
        `OTEL_TRACES_SAMPLER_ARG: "${text}" is ignored: expected a number between 0 and 1, such as 0.01`,
      ]);
    },
  );
});

test.each<[Env]>([
  [{ OTEL_TRACES_EXPORTER: "console" }],
  [{ OTEL_TRACES_EXPORTER: "otlp,zipkin" }],
  [{ ...ON, OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4318" }],
  [{ ...ON, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "https://u:hunter2@c" }],
  [{ ...ON, OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "grpc" }],
  [{ ...ON, OTEL_EXPORTER_OTLP_TRACES_HEADERS: "a=hunter2%" }],
  [{ ...ON, OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: "0" }],
  [{ ...ON, OTEL_EXPORTER_OTLP_TIMEOUT: "60001" }],
])("readTraces warns once about %j and repeats no secret", (env) => {
  const warnings: string[] = [];
  readTraces(env, warnings);
  expect(warnings).toHaveLength(1);
  expect(warnings.join()).not.toContain("hunter2");
});
