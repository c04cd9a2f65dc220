import type { TlsConfig } from "./build-tls.ts";
import type { OtlpConfig } from "../metrics/otlp-config.ts";
import type { ProxyConfig } from "../proxy/proxy-config.ts";
import type { ActivityConfig, RenewConfig } from "../renew/renew-config.ts";
import type { TracesConfig } from "../traces/traces-config.ts";
import type { ProviderType } from "../sandbox/provider.ts";
import type { AddressSet } from "../address.ts";
import type { LogFormat, LogLevel } from "../log/logger.ts";
import type { AccessLogMode } from "../proxy/report/access-log.ts";

/** All settings, parsed once and frozen. Durations are milliseconds, sizes bytes. */
export interface Config extends Omit<ProxyConfig, "budgetBytes" | "websocketMaxMessageBytes"> {
  /** `--provider-type`. */
  readonly providerType: ProviderType;
  /** `--namespace`, split at commas. Empty together with `allNamespaces`, or with manifests and no filter. */
  readonly namespaces: readonly string[];
  /** `--all-namespaces`; overrides `--namespace`. */
  readonly allNamespaces: boolean;
  /** `--manifests`: a file or a folder. Undefined: Kubernetes is the provider. */
  readonly manifests: string | undefined;
  /** `--kubeconfig`; undefined: KUBECONFIG, in-cluster, `~/.kube/config`. */
  readonly kubeconfig: string | undefined;
  /** `--allow-loopback-endpoints`; always true with manifests. */
  readonly allowLoopbackEndpoints: boolean;
  /** `--endpoint-ranges`: every endpoint must lie in them. Undefined: no limit. */
  readonly endpointRanges: AddressSet | undefined;
  /** `--cluster-domain`, lower case. Undefined: the resolver's. */
  readonly clusterDomain: string | undefined;

  /** Whether `host` is the default, which is replaced on a machine without IPv6. */
  readonly isDefaultHost: boolean;
  /** `--tls-…`; undefined: there is no port with TLS. */
  readonly tls: TlsConfig | undefined;
  /** `--admin-host`, default `::`. */
  readonly adminHost: string;
  /** The same for `adminHost`. */
  readonly isDefaultAdminHost: boolean;
  /** `--admin-port`, 28889. 0 turns the admin server off. */
  readonly adminPort: number;
  /** `--admin-token-file`: watched; undefined: only this machine sees the pages for operators. */
  readonly adminTokenFile: string | undefined;

  /** `--log-level`, info. */
  readonly logLevel: LogLevel;
  /** `--log-format`, text. */
  readonly logFormat: LogFormat;
  /** `--access-log`, errors. */
  readonly accessLog: AccessLogMode;

  /** `--max-header-size`, 64 KiB: request line and headers. Above it: 431. */
  readonly maxHeaderBytes: number;
  /**
   * `--memory-budget`: what all requests together may hold. Undefined: derived from the memory limit by
   * `resolveMemoryPlan`.
   */
  readonly memoryBudgetBytes: number | undefined;
  /**
   * `--websocket-max-message`: a larger message ends the tunnel with 1009. Undefined: derived by `resolveMemoryPlan`.
   */
  readonly websocketMaxMessageBytes: number | undefined;

  /** `--shutdown-delay`, 5 s: not ready but still serving, so that load balancers can react. */
  readonly shutdownDelayMs: number;
  /** `--drain-timeout`, 20 s: how long open requests and tunnels may take to end by themselves. */
  readonly drainTimeoutMs: number;

  /** `--secure-access-keys`: the raw value, or undefined. Its syntax is checked. */
  readonly secureAccessKeys: string | undefined;
  /** `--secure-access-keys-file`, which is watched. Undefined if not given. */
  readonly secureAccessKeysFile: string | undefined;
  /** `--end-at-expiry`, false: whether a stream or WebSocket ends when its signed route expires. */
  readonly endAtExpiry: boolean;

  readonly renew: RenewConfig;
  readonly activity: ActivityConfig;
  /** Where metrics are pushed (docs/contract.md §8). Undefined: nowhere. */
  readonly otlp: OtlpConfig | undefined;
  /** Where traces are pushed (OTEL_TRACES_EXPORTER=otlp). Undefined: traces are off. */
  readonly traces: TracesConfig | undefined;
  /** Warnings to log once at the start, such as ignored flags. */
  readonly warnings: readonly string[];
}
