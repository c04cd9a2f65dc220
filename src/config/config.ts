import type { OtlpConfig } from "../metrics/otlp-config.ts";
import type { ProxyConfig } from "../proxy/proxy-config.ts";
import type { RenewConfig } from "../renew/renew-config.ts";
import type { ProviderType } from "../sandbox/provider.ts";
import type { AddressSet } from "../address.ts";
import type { LogFormat, LogLevel } from "../log/logger.ts";
import type { AccessLogMode } from "../proxy/report/access-log.ts";

/** Everything an operator can set, parsed once and frozen. Durations are milliseconds, sizes bytes. */
export interface Config extends Omit<ProxyConfig, "budgetBytes" | "websocketMaxMessageBytes"> {
  /** `--provider-type`. */
  readonly providerType: ProviderType;
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
  /** `--endpoint-ranges`: where every endpoint must lie; undefined: no limit. */
  readonly endpointRanges: AddressSet | undefined;
  /** `--cluster-domain`, lower case; undefined: that of the resolver. */
  readonly clusterDomain: string | undefined;

  /** Nobody chose `host`: it may give way where there is no IPv6. */
  readonly isDefaultHost: boolean;
  /** `--admin-host`, default `::`. */
  readonly adminHost: string;
  /** The same of `adminHost`. */
  readonly isDefaultAdminHost: boolean;
  /** `--admin-port`, 28889; 0 turns the admin server off. */
  readonly adminPort: number;
  /** `--admin-token-file`: watched; undefined: only this machine sees the pages for operators. */
  readonly adminTokenFile: string | undefined;

  /** `--log-level`, info. */
  readonly logLevel: LogLevel;
  /** `--log-format`, text. */
  readonly logFormat: LogFormat;
  /** `--access-log`, errors. */
  readonly accessLog: AccessLogMode;

  /** `--max-header-size`, 64 KiB: request line and headers, 431 above. */
  readonly maxHeaderBytes: number;
  /** `--memory-budget`: what all requests may hold together; undefined: derived from the memory limit, see `resolveMemoryPlan`. */
  readonly memoryBudgetBytes: number | undefined;
  /** `--websocket-max-message`: a larger one ends the tunnel with 1009; undefined: derived, see `resolveMemoryPlan`. */
  readonly websocketMaxMessageBytes: number | undefined;

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
  /** Where metrics are pushed; undefined: they are not (docs/contract.md §8). */
  readonly otlp: OtlpConfig | undefined;
  /** Things to say once at start: accepted but ignored flags and the like. */
  readonly warnings: readonly string[];
}
