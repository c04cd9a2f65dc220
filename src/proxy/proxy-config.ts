import type { AddressSet } from "../address.ts";
import type { RouteMode } from "../route/route.ts";
import type { HoldConfig } from "./hold/hold-config.ts";
import type { BrowserConfig } from "./browser/view.ts";

/** What an operator sets for the proxy. Durations are milliseconds, sizes bytes. */
export interface ProxyConfig {
  /** `--mode`; `wildcard` is `header`. */
  readonly mode: RouteMode;
  /** `--host`: listen address; `::` listens on both families. */
  readonly host: string;
  /** `--port`, 28888; 0 takes a free one (tests). */
  readonly port: number;
  /** `--trusted-proxies`, private. */
  readonly trustedProxies: AddressSet;
  /** `--host-header`, `--origin-header`, `--uri-prefix`, `--uri-recovery`, `--cookie-domain`, `--cors-origins`. */
  readonly browser: BrowserConfig;
  /** `--connect-timeout`, 5 s. */
  readonly connectTimeoutMs: number;
  /** `--response-timeout`: request sent to answer's head; 0 (default) means none. */
  readonly responseTimeoutMs: number;
  /** `--stream-idle-timeout`: cuts a body or tunnel that moved no byte for so long; 0 (default) means never. */
  readonly streamIdleTimeoutMs: number;
  /** `--stream-early-newline`, false: whether an event stream that is silent at first begins with a line feed of ours. */
  readonly streamEarlyNewline: boolean;
  /** `--client-idle-timeout`, 60 s: ends a request whose body brings no byte for so long; 0 means never. */
  readonly clientIdleTimeoutMs: number;
  /** `--max-requests`: in flight in all, tunnels included; 0 means no limit. Default 10000. */
  readonly maxRequests: number;
  /** `--max-requests-per-sandbox`; 0 means no limit. Default 1000. */
  readonly maxRequestsPerSandbox: number;
  /** `--max-body-size`; 0 (default) means no limit. */
  readonly maxBodyBytes: number;
  /** `--websocket-frame-rate`, 4000: a second, in each direction of a tunnel; 64 times that for each sandbox and client; 0: none. */
  readonly websocketFrameRate: number;
  /** `--hold-…` and `--wake-…`. */
  readonly hold: HoldConfig;
  /** `--memory-budget`: bytes that all requests may hold together, or what is derived from the memory limit. */
  readonly budgetBytes: number;
  /** `--websocket-max-message`, or what is derived from the memory limit: a larger message ends the tunnel with 1009. */
  readonly websocketMaxMessageBytes: number;
}
