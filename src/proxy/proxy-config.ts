import type { AddressSet } from "../address.ts";
import type { Rate } from "../quantity.ts";
import type { RouteMode } from "../route/route.ts";
import type { HoldConfig } from "./hold/hold-config.ts";
import type { NetworkReadinessConfig } from "./upstream/network-readiness.ts";
import type { BrowserConfig } from "./browser/view.ts";

/** The settings of the proxy. Durations are milliseconds, sizes bytes. */
export interface ProxyConfig {
  /** `--mode`; `wildcard` is `header`. */
  readonly mode: RouteMode;
  /** `--host`: listen address; `::` listens on both families. */
  readonly host: string;
  /** `--port`, 28888; 0 takes a free one (tests). */
  readonly port: number;
  /** `--http2`, false: whether clients may speak HTTP/2: with TLS by ALPN, without it with prior knowledge. */
  readonly http2: boolean;
  /** `--trusted-proxies`, private. */
  readonly trustedProxies: AddressSet;
  /** `--host-header`, `--origin-header`, `--uri-prefix`, `--uri-recovery`, `--cookie-domain`, `--cors-origins`. */
  readonly browser: BrowserConfig;
  /** `--connect-timeout`, 5 s. */
  readonly connectTimeoutMs: number;
  /** `--response-timeout`: from sending the request to the head of the answer; 0 (default): no limit. */
  readonly responseTimeoutMs: number;
  /** `--stream-idle-timeout`: cuts a body or tunnel that has moved no byte for this long; 0 (default): never. */
  readonly streamIdleTimeoutMs: number;
  /**
   * `--stream-early-newline`, false: whether the ingress starts an event stream that is silent at first with a line
   * feed.
   */
  readonly streamEarlyNewline: boolean;
  /** `--client-idle-timeout`, 60 s: ends a request whose body brings no byte for this long; 0: never. */
  readonly clientIdleTimeoutMs: number;
  /** `--max-requests`, 10000: requests in flight in total, tunnels included; 0: no limit. */
  readonly maxRequests: number;
  /** `--max-requests-per-sandbox`, 1000; 0: no limit. */
  readonly maxRequestsPerSandbox: number;
  /** `--max-rate-per-sandbox`; undefined (default): no limit. */
  readonly maxRatePerSandbox: Rate | undefined;
  /** `--max-body-size`; 0 (default): no limit. */
  readonly maxBodyBytes: number;
  /**
   * `--websocket-frame-rate`, 4000: frames per second in each direction of a tunnel; 0: no limit. All tunnels of a
   * sandbox together, and all of a client, get 64 times that.
   */
  readonly websocketFrameRate: number;
  /** `--network-readiness-…`; undefined: there is no such page. */
  readonly networkReadiness: NetworkReadinessConfig | undefined;
  /** `--hold-…` and `--wake-…`. */
  readonly hold: HoldConfig;
  /** `--memory-budget`: bytes that all requests together may hold. Default: derived from the memory limit. */
  readonly budgetBytes: number;
  /** `--websocket-max-message`: a larger message ends the tunnel with 1009. Default: derived from the memory limit. */
  readonly websocketMaxMessageBytes: number;
}
