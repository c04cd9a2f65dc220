import { describe, expect, test } from "bun:test";
import { type Config, FLAGS, parseConfig } from "../../../src/config/parse-config.ts";

const NAMESPACE = "--namespace=ns";

function configOf(argv: readonly string[], env: Readonly<Record<string, string>> = {}): Config {
  const parsed = parseConfig(argv, env);
  if (parsed.kind !== "run") throw new Error(JSON.stringify(parsed));
  return parsed.config;
}

test("parseConfig gives the documented defaults", () => {
  const { trustedProxies, ...rest } = configOf([NAMESPACE]);
  expect(trustedProxies.has("10.1.2.3")).toBe(true);
  expect(trustedProxies.has("8.8.8.8")).toBe(false);
  expect(rest).toEqual({
    providerType: "batchsandbox",
    mode: "header",
    namespaces: ["ns"],
    allNamespaces: false,
    manifests: undefined,
    kubeconfig: undefined,
    allowLoopbackEndpoints: false,
    endpointRanges: undefined,
    clusterDomain: undefined,
    host: "::",
    isDefaultHost: true,
    port: 28888,
    tls: undefined,
    http2: false,
    adminHost: "::",
    isDefaultAdminHost: true,
    adminPort: 28889,
    adminTokenFile: undefined,
    logLevel: "info",
    logFormat: "text",
    accessLog: "errors",
    browser: {
      hostHeader: "upstream",
      originHeader: "preserve",
      uriPrefix: "strip",
      cookieDomain: "drop",
      uriRecovery: "referer",
      corsOrigins: [],
    },
    connectTimeoutMs: 5_000,
    responseTimeoutMs: 0,
    streamIdleTimeoutMs: 0,
    streamEarlyNewline: false,
    clientIdleTimeoutMs: 60_000,
    maxRequests: 10_000,
    maxRequestsPerSandbox: 1_000,
    maxRatePerSandbox: undefined,
    maxHeaderBytes: 65_536,
    maxBodyBytes: 0,
    memoryBudgetBytes: undefined,
    websocketMaxMessageBytes: undefined,
    websocketFrameRate: 4_000,
    activity: {
      enabled: false,
      redisDsn: "redis://127.0.0.1:6379/0",
      minIntervalMs: 5_000,
      ttlSeconds: 1_800,
    },
    networkReadiness: {
      windowMs: 60_000,
      maxTargets: 1_024,
      minAttempts: 20,
      minTargets: 5,
      minSignalTargets: 2,
      failureRatio: 0.2,
    },
    hold: {
      holdMs: 0,
      holdMax: 1_024,
      holdReleaseRate: 100,
      wake: {
        enabled: false,
        parkBudgetMs: 60_000,
        parkMax: 1_024,
        scope: "annotated",
        wakeMax: 32,
        ignoredPaths: new Set(["/favicon.ico", "/robots.txt"]),
      },
    },
    shutdownDelayMs: 5_000,
    drainTimeoutMs: 20_000,
    secureAccessKeys: undefined,
    secureAccessKeysFile: undefined,
    endAtExpiry: false,
    renew: {
      enabled: false,
      redisDsn: "redis://127.0.0.1:6379/0",
      redisDsnFile: undefined,
      redisCaFile: undefined,
      queueKey: "opensandbox:renew:intent",
      queueMaxLength: 0,
      minIntervalMs: 60_000,
    },
    otlp: undefined,
    traces: undefined,
    warnings: [],
  });
});

test("parseConfig freezes its result deeply", () => {
  const config = configOf([NAMESPACE], { OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318" });
  for (const part of [config, config.namespaces, config.renew, config.otlp, config.otlp?.headers, config.warnings]) {
    expect(Object.isFrozen(part)).toBe(true);
  }
});

describe("parseConfig reads Go's flag syntax", () => {
  test.each<[readonly string[], Partial<Config>]>([
    [["-port", "1"], { port: 1 }],
    [["--port", "1"], { port: 1 }],
    [["-port=1"], { port: 1 }],
    [["--port=1"], { port: 1 }],
    [["--port=+1"], { port: 1 }],
    [["--port=1", "-port", "2"], { port: 2 }],
    [["--namespace=a=b", "--namespace=x"], { namespaces: ["x"] }],
    [["-manifests", "-x"], { manifests: "-x" }],
    [["-manifests", "--"], { manifests: "--" }],
    [["-manifests", "0123"], { manifests: "0123" }],
    [["-manifests=true"], { manifests: "true" }],
    [["-manifests="], { manifests: undefined }],
    [["-kubeconfig", "a", "--"], { kubeconfig: "a" }],
    [["-all-namespaces"], { allNamespaces: true, namespaces: [] }],
    [["-all-namespaces", "--port=3"], { allNamespaces: true, port: 3 }],
    ...["1", "t", "T", "true", "TRUE", "True"].map(trueText),
    ...["0", "f", "F", "false", "FALSE", "False"].map(falseText),
  ])("%j", (argv, expected) => {
    expect(configOf([NAMESPACE, ...argv])).toMatchObject(expected);
  });

  function trueText(text: string): [readonly string[], Partial<Config>] {
    return [[`-all-namespaces=${text}`], { allNamespaces: true }];
  }
  function falseText(text: string): [readonly string[], Partial<Config>] {
    return [["-all-namespaces", `-all-namespaces=${text}`], { allNamespaces: false }];
  }
});

describe("parseConfig reads each flag", () => {
  test.each<[string, Partial<Config>]>([
    ["--namespace=a,b, a ,c-1", { namespaces: ["a", "b", "c-1"] }],
    ["--provider-type=agent-sandbox", { providerType: "agent-sandbox" }],
    ["--mode=uri", { mode: "uri" }],
    ["--manifests=/m", { manifests: "/m", allowLoopbackEndpoints: true }],
    ["--allow-loopback-endpoints", { allowLoopbackEndpoints: true }],
    ["--endpoint-ranges=", { endpointRanges: undefined }],
    ["--cluster-domain=", { clusterDomain: undefined }],
    ["--cluster-domain=K8s.Example.org.", { clusterDomain: "k8s.example.org" }],
    ["--kubeconfig=/k", { kubeconfig: "/k" }],
    ["--host=0.0.0.0", { host: "0.0.0.0" }],
    ["--host=FD00::1", { host: "fd00::1" }],
    ["--host=localhost", { host: "localhost" }],
    ["--admin-host=127.0.0.1", { adminHost: "127.0.0.1" }],
    ["--admin-port=0", { adminPort: 0 }],
    ["--admin-token-file=/token", { adminTokenFile: "/token" }],
    ["--admin-token-file=", { adminTokenFile: undefined }],
    ["--port=65535", { port: 65_535 }],
    ["--http2", { http2: true }],
    ["--log-level=debug", { logLevel: "debug" }],
    ["--log-format=json", { logFormat: "json" }],
    ["--access-log=all", { accessLog: "all" }],
    ["--connect-timeout=1m30s", { connectTimeoutMs: 90_000 }],
    ["--response-timeout=300ms", { responseTimeoutMs: 300 }],
    ["--stream-idle-timeout=1.5h", { streamIdleTimeoutMs: 5_400_000 }],
    ["--max-requests=0", { maxRequests: 0 }],
    ["--client-idle-timeout=0", { clientIdleTimeoutMs: 0 }],
    ["--max-requests-per-sandbox=5", { maxRequestsPerSandbox: 5 }],
    ["--max-header-size=16KiB", { maxHeaderBytes: 16_384 }],
    ["--max-body-size=10MB", { maxBodyBytes: 10_000_000 }],
    ["--memory-budget=512MiB", { memoryBudgetBytes: 2 ** 29 }],
    ["--memory-budget=0", { memoryBudgetBytes: undefined }],
    ["--memory-budget=", { memoryBudgetBytes: undefined }],
    ["--websocket-max-message=", { websocketMaxMessageBytes: undefined }],
    ["--websocket-max-message=1GiB", { websocketMaxMessageBytes: 2 ** 30 }],
    ["--websocket-frame-rate=0", { websocketFrameRate: 0 }],
    ["--max-rate-per-sandbox=", { maxRatePerSandbox: undefined }],
    ["--max-rate-per-sandbox=100/s", { maxRatePerSandbox: { burst: 100, leakMs: 10 } }],
    ["--max-rate-per-sandbox=30/m", { maxRatePerSandbox: { burst: 30, leakMs: 2_000 } }],
    ["--shutdown-delay=0", { shutdownDelayMs: 0 }],
    ["--drain-timeout=10s", { drainTimeoutMs: 10_000 }],
    ["--secure-access-keys=a=MTIz", { secureAccessKeys: "a=MTIz" }],
    ["--secure-access-keys-file=/keys", { secureAccessKeysFile: "/keys" }],
    ["--stream-early-newline", { streamEarlyNewline: true }],
    ["--end-at-expiry", { endAtExpiry: true }],
  ])("%s", (flag, expected) => {
    expect(configOf([NAMESPACE, flag])).toMatchObject(expected);
  });

  test("the flags of renew intents", () => {
    const argv = [
      "--renew-intent-enabled",
      "--renew-intent-redis-dsn=rediss://u:p@r:1/2",
      "--renew-intent-redis-ca-file=/ca",
      "--renew-intent-queue-key=q",
      "--renew-intent-queue-max-len=7",
      "--renew-intent-min-interval=9",
    ];
    expect(configOf([NAMESPACE, ...argv]).renew).toEqual({
      enabled: true,
      redisDsn: "rediss://u:p@r:1/2",
      redisDsnFile: undefined,
      redisCaFile: "/ca",
      queueKey: "q",
      queueMaxLength: 7,
      minIntervalMs: 9_000,
    });
  });

  test("--renew-intent-redis-dsn-file, also beside an empty --renew-intent-redis-dsn and a CA file", () => {
    const argv = [
      "--renew-intent-redis-dsn-file=/dsn",
      "--renew-intent-redis-dsn=",
      "--renew-intent-redis-ca-file=/ca",
    ];
    const { renew, warnings } = configOf([NAMESPACE, "--renew-intent-enabled", ...argv]);
    expect(renew).toMatchObject({ enabled: true, redisDsnFile: "/dsn", redisCaFile: "/ca" });
    expect(warnings).toEqual([]);
  });

  test("--host-header, --origin-header, --uri-prefix and --cookie-domain", () => {
    const argv = ["--host-header=localhost", "--origin-header=upstream", "--uri-prefix=keep", "--cookie-domain=keep"];
    expect(configOf([NAMESPACE, ...argv]).browser).toEqual({
      hostHeader: "localhost",
      originHeader: "upstream",
      uriPrefix: "keep",
      cookieDomain: "keep",
      uriRecovery: "referer",
      corsOrigins: [],
    });
  });

  test.each<[string, Partial<NonNullable<Config["tls"]>>]>([
    ["", {}],
    ["--tls-port=0", { port: 0 }],
    ["--tls-only", { isOnly: true }],
    ["--tls-min-version=1.3", { minVersion: "1.3" }],
    ["--tls-client-ca-file=/a", { clientCaFile: "/a" }],
  ])("--tls-cert-file and --tls-key-file with %s", (flag, changed) => {
    const argv = [NAMESPACE, "--tls-cert-file=/c", "--tls-key-file=/k", ...(flag === "" ? [] : [flag])];
    const whole = { certFile: "/c", keyFile: "/k", clientCaFile: undefined, port: 28_443, isOnly: false };
    expect(configOf(argv).tls).toEqual({ ...whole, minVersion: "1.2", ...changed });
  });

  test("--tls-only gives up the plain port, so that another may have its number", () => {
    const argv = [NAMESPACE, "--tls-cert-file=/c", "--tls-key-file=/k", "--tls-only", "--tls-port=28888"];
    expect(configOf(argv).tls?.port).toBe(28_888);
  });

  test("--tls-port and --tls-min-version without a certificate change nothing, with a warning", () => {
    const { tls, warnings } = configOf([NAMESPACE, "--tls-cert-file=", "--tls-port=1", "--tls-min-version=1.3"]);
    expect(tls).toBeUndefined();
    expect(warnings).toEqual([
      "--tls-port has no effect: --tls-cert-file is missing",
      "--tls-min-version has no effect: --tls-cert-file is missing",
    ]);
  });

  test("--uri-recovery", () => {
    expect(configOf([NAMESPACE, "--uri-recovery=off"]).browser.uriRecovery).toBe("off");
  });

  test.each<[string, readonly string[]]>([
    ["", []],
    ["https://app.example.com", ["https://app.example.com"]],
    [" https://App.Example.com:443 , http://localhost:3000", ["https://app.example.com", "http://localhost:3000"]],
    ["https://*.Example.com,https://*.example.com:443", ["https://*.example.com"]],
    ["http://*.localhost:80,https://*.example.com:8443", ["http://*.localhost", "https://*.example.com:8443"]],
    ["http://[0:0::1]:80,https://bücher.example", ["http://[::1]", "https://xn--bcher-kva.example"]],
    ["chrome-extension://abcdef,tauri://localhost", ["chrome-extension://abcdef", "tauri://localhost"]],
  ])("--cors-origins=%s", (text, origins) => {
    expect(configOf([NAMESPACE, `--cors-origins=${text}`]).browser.corsOrigins).toEqual(origins);
  });

  test("--trusted-proxies", () => {
    const { trustedProxies } = configOf([NAMESPACE, "--trusted-proxies=192.0.2.0/24,2001:db8::1"]);
    expect(["192.0.2.9", "2001:db8::1", "10.0.0.1"].map((address) => trustedProxies.has(address))).toEqual([
      true,
      true,
      false,
    ]);
  });
});

test("parseConfig reads where activity is noted, and looks at the address only where it is on", () => {
  const flags = ["--activity-redis-dsn=redis://:p@h/2", "--activity-min-interval=10s", "--activity-ttl-seconds=60"];
  expect(configOf([NAMESPACE, "--activity-enabled", ...flags]).activity).toEqual({
    enabled: true,
    redisDsn: "redis://:p@h/2",
    minIntervalMs: 10_000,
    ttlSeconds: 60,
  });
  expect(configOf([NAMESPACE, "--activity-redis-dsn=$(REDIS_DSN)"]).activity.enabled).toBe(false);
});

test("parseConfig reads how requests wait and wake", () => {
  const flags = [
    "--hold-until-ready=30s",
    "--hold-max=8",
    "--hold-release-rate=0",
    "--wake-enabled",
    "--wake-scope=all",
  ];
  const more = ["--wake-park-budget=5s", "--wake-park-max=4", "--wake-max=2", "--wake-ignore-paths=/a, /b"];
  const { hold, warnings } = configOf([NAMESPACE, ...flags, ...more]);
  expect(hold).toEqual({
    holdMs: 30_000,
    holdMax: 8,
    holdReleaseRate: 0,
    wake: {
      enabled: true,
      parkBudgetMs: 5_000,
      parkMax: 4,
      scope: "all",
      wakeMax: 2,
      ignoredPaths: new Set(["/a", "/b"]),
    },
  });
  expect(warnings).toEqual([]);
  expect(configOf(["--manifests=m", "--wake-enabled"]).warnings).toEqual([
    "--wake-enabled has no effect: nothing wakes a sandbox of --manifests",
  ]);
});

test.each([
  "--fastpath-endpoint=http://x",
  "--fastpath-access-mode=central-proxy",
  "--fastpath-wait-timeout-millis=2000",
  "--wake-retry-interval=50ms",
  "--wake-retry-factor=1.3",
  "--wake-retry-jitter=0.1",
  "--audit-webhook-url=http://x",
  "--audit-queue-size=1024",
  "--audit-timeout=3s",
])("parseConfig takes %s of newer Go ingresses, with one line that it changes nothing", (flag) => {
  const { warnings, ...config } = configOf([NAMESPACE, flag, "--audit-enabled=false"]);
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toContain(`${flag.split("=")[0]} is ignored because`);
  const { warnings: none, ...plain } = configOf([NAMESPACE]);
  expect(none).toEqual([]);
  expect(JSON.stringify(config)).toBe(JSON.stringify(plain));
});

test.each([
  "--network-readiness-shadow-window=0",
  "--network-readiness-max-targets=0",
  "--network-readiness-min-attempts=-1",
  "--network-readiness-min-targets=1025",
  "--network-readiness-min-signal-targets=1025",
  "--network-readiness-failure-ratio=0",
  "--network-readiness-failure-ratio=1.1",
])("parseConfig has no page of network readiness with %s, and starts", (flag) => {
  const { networkReadiness, warnings } = configOf([NAMESPACE, flag]);
  expect(networkReadiness).toBeUndefined();
  expect(warnings).toHaveLength(1);
});

test("parseConfig requires no namespace with --manifests or --all-namespaces", () => {
  expect(configOf(["--manifests=m"]).namespaces).toEqual([]);
  expect(configOf(["--manifests=m", "--namespace="]).namespaces).toEqual([]);
  expect(configOf(["--all-namespaces", NAMESPACE]).namespaces).toEqual([]);
});

describe("parseConfig warns", () => {
  test.each<[readonly string[], string]>([
    [["--mode=wildcard"], "--mode=wildcard"],
    [["--fastpath-endpoint=http://x"], "--fastpath-endpoint is ignored"],
    [["--manifests=m", "--kubeconfig=k"], "--kubeconfig is ignored"],
    [["--drain-timeout=23s"], "together 28s"],
    [["--renew-intent-redis-ca-file=/ca"], "--renew-intent-redis-ca-file is ignored"],
    [["--renew-intent-redis-dsn=$(REDIS_DSN)"], "--renew-intent-redis-dsn is ignored"],
  ])("about %j", (argv, text) => {
    const { warnings } = configOf([NAMESPACE, ...argv]);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain(text);
  });

  test("about nothing when the times of stopping make 27 s", () => {
    expect(configOf([NAMESPACE, "--shutdown-delay=7s"]).warnings).toEqual([]);
  });
});

test.each([
  "redis://h",
  "redis://h:6379",
  "redis://h/3",
  "redis://:p@h",
  "redis://u:p%40x@[::1]:1/15",
  "rediss://u:p@h:1/0",
  "redis://h?db=2",
  "unix:///run/redis.sock",
  "unix://u:p@/run/redis.sock?db=1",
])("parseConfig takes the Redis address %s", (dsn) => {
  expect(configOf([NAMESPACE, `--renew-intent-redis-dsn=${dsn}`]).renew.redisDsn).toBe(dsn);
});

test("parseConfig leaves a sub-command its arguments", () => {
  expect(parseConfig(["sign", "--key", "x"], {})).toEqual({ kind: "command", name: "sign", args: ["--key", "x"] });
  expect(parseConfig(["verify", "-h"], {})).toEqual({ kind: "command", name: "verify", args: ["-h"] });
});

test("parseConfig returns help and version even with faults, but not after --", () => {
  for (const flag of ["-h", "--h", "-help", "--help", "--help=true"]) {
    expect(parseConfig(["--bogus", flag], {}).kind).toBe("help");
  }
  expect(parseConfig(["--version", "--port=x"], {}).kind).toBe("version");
  expect(parseConfig(["--help=false", "--manifests=m"], {}).kind).toBe("run");
  expect(parseConfig([NAMESPACE, "--", "--help"], {}).kind).toBe("faults");
});

test("parseConfig --help names every flag once, in lines of at most 100 columns", () => {
  const parsed = parseConfig(["--help"], {});
  const lines = parsed.kind === "help" ? parsed.text.split("\n") : [];
  for (const { name } of FLAGS) {
    expect(lines.filter((line) => line.startsWith(`  --${name} `))).toHaveLength(1);
  }
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(100);
});

test("FLAGS has each name once, and defaults that parse", () => {
  expect(new Set(FLAGS.map((flag) => flag.name)).size).toBe(FLAGS.length);
  const argv = FLAGS.filter((flag) => flag.name !== "fastpath-endpoint").map(
    (flag) => `--${flag.name}=${flag.default}`,
  );
  expect(parseConfig([...argv, NAMESPACE], {}).kind).toBe("run");
});

describe("parseConfig: --endpoint-ranges", () => {
  test("parseConfig returns the ranges, and warns if they make --allow-loopback-endpoints useless", () => {
    const { endpointRanges, warnings } = configOf([NAMESPACE, "--endpoint-ranges=10.244.0.0/16,fd00:10::/64"]);
    expect(["10.244.1.1", "fd00:10::1", "10.245.0.1"].map((a) => endpointRanges?.has(a))).toEqual([true, true, false]);
    expect(warnings).toEqual([]);
    const loopback = [NAMESPACE, "--allow-loopback-endpoints"];
    expect(configOf([...loopback, "--endpoint-ranges=10.244.0.0/16"]).warnings).toEqual([
      "--allow-loopback-endpoints has no effect: --endpoint-ranges contains no loopback address",
    ]);
    expect(configOf([...loopback, "--endpoint-ranges=10.244.0.0/16,127.0.0.0/8"]).warnings).toEqual([]);
  });
});
