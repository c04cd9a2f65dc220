import type { AddressSet } from "../address.ts";
import type { AccessLogMode, LogFormat, LogLevel } from "../log.ts";
import type { RouteMode } from "../route/route.ts";

export type ProviderType = "batchsandbox" | "agent-sandbox";

/** Everything an operator can set, parsed once and frozen. Durations are milliseconds, sizes bytes. */
export interface Config {
  /** `--provider-type`. */
  readonly providerType: ProviderType;
  /** `--mode`; `wildcard` is `header`. */
  readonly mode: RouteMode;
  /** `--namespace`, split at commas; empty together with `allNamespaces`, or with manifests and no filter. */
  readonly namespaces: readonly string[];
  /** `--all-namespaces`; wins over `--namespace`. */
  readonly allNamespaces: boolean;
  /** `--manifests`: a file or a folder; undefined: Kubernetes is the provider. */
  readonly manifests: string | undefined;
  /** `--kubeconfig`; undefined: KUBECONFIG, in-cluster, `~/.kube/config`. */
  readonly kubeconfig: string | undefined;
  /** `--allow-loopback-endpoints`; always true with manifests. */
  readonly allowLoopbackEndpoints: boolean;

  /** `--host`: listen address; `::` listens on both families. */
  readonly host: string;
  /** `--port`, 28888; 0 takes a free one (tests). */
  readonly port: number;
  /** `--admin-host`, default `::`. */
  readonly adminHost: string;
  /** `--admin-port`, 28889; 0 turns the admin server off. */
  readonly adminPort: number;

  /** `--log-level`, info. */
  readonly logLevel: LogLevel;
  /** `--log-format`, text. */
  readonly logFormat: LogFormat;
  /** `--access-log`, errors. */
  readonly accessLog: AccessLogMode;

  /** `--trusted-proxies`, private. */
  readonly trustedProxies: AddressSet;

  /** `--connect-timeout`, 5 s. */
  readonly connectTimeoutMs: number;
  /** `--response-timeout`: request sent to answer's head; 0 (default) means none. */
  readonly responseTimeoutMs: number;
  /** `--stream-idle-timeout`: cuts a body or tunnel that moved no byte for so long; 0 (default) means never. */
  readonly streamIdleTimeoutMs: number;
  /** `--max-requests`: in flight in all, tunnels included; 0 means no limit. Default 10000. */
  readonly maxRequests: number;
  /** `--max-requests-per-sandbox`; 0 means no limit. Default 1000. */
  readonly maxRequestsPerSandbox: number;
  /** `--max-header-size`, 64 KiB: request line and headers, 431 above. */
  readonly maxHeaderBytes: number;
  /** `--max-body-size`; 0 (default) means no limit. */
  readonly maxBodyBytes: number;
  /** `--websocket-max-message`, 64 MiB: a larger one ends the tunnel with 1009. */
  readonly websocketMaxMessageBytes: number;

  /** `--shutdown-delay`, 5 s: not ready but serving, so that load balancers notice. */
  readonly shutdownDelayMs: number;
  /** `--drain-timeout`, 20 s: what is open may end by itself for so long. */
  readonly drainTimeoutMs: number;

  /** `--secure-access-keys`: the raw value, or undefined. Its syntax has been checked. */
  readonly secureAccessKeys: string | undefined;
  /** `--secure-access-keys-file`: watched; undefined: none. */
  readonly secureAccessKeysFile: string | undefined;
  /** `--end-at-expiry`, false: whether what a signed route admitted ends when the route expires. */
  readonly endAtExpiry: boolean;

  readonly renew: RenewConfig;
  /** Where metrics are pushed; undefined: they are not (contract §8). */
  readonly otlp: OtlpConfig | undefined;
  /** Things to say once at start: accepted but ignored flags and the like. */
  readonly warnings: readonly string[];
}

/** The `--renew-intent-*` flags (contract §4). */
export interface RenewConfig {
  readonly enabled: boolean;
  /** Carries a password: never logged. */
  readonly redisDsn: string;
  /** `--renew-intent-redis-ca-file`; undefined: the system's authorities. */
  readonly redisCaFile: string | undefined;
  readonly queueKey: string;
  /** 0 means no cap. */
  readonly queueMaxLength: number;
  /** Seconds on the command line, milliseconds here. */
  readonly minIntervalMs: number;
}

/** From the OTEL_* variables and HOST_IP (contract §8). */
export interface OtlpConfig {
  /** Full URL of the metrics endpoint. */
  readonly url: string;
  readonly temporality: "cumulative" | "delta" | "lowmemory";
  /** Export interval, OTEL_METRIC_EXPORT_INTERVAL, 60 s. */
  readonly intervalMs: number;
  /** OTEL_EXPORTER_OTLP_HEADERS and OTEL_EXPORTER_OTLP_METRICS_HEADERS. Never logged. */
  readonly headers: Readonly<Record<string, string>>;
}
