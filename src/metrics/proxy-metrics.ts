import type { IngressErrorCode } from "../errors.ts";
import type { RouteFormLabel } from "../route/route.ts";

/** Why an upstream could not be reached, or that it was: docs/contract.md §8 `connect_result`. */
export type ConnectResult = "success" | "timeout" | "unreachable" | "refused" | "dns_error" | "canceled" | "other";
/** docs/contract.md §8 `routing_result`. */
export type RoutingResult = "success" | "not_found" | "not_ready" | "error";
export type ProxyType = "http" | "websocket";

/** Bytes of bodies and WebSocket messages: `in` from clients, `out` to clients. */
export interface ByteCounts {
  readonly in: number;
  readonly out: number;
}

/**
 * What the proxy reports while it works. Called once or a few times for each request, so an implementation only
 * changes numbers in its own cells. All labels are from bounded sets; an unknown method counts as `_OTHER`.
 */
export interface ProxyMetrics {
  /** A request came in and was counted in flight. Every call is matched by one `requestEnded`. */
  requestStarted(): void;
  /**
   * The answer ended, or the tunnel closed: a tunnel's duration is its whole life, as in the Go ingress. Its hours are
   * told
   * from the times of answers by `proxyType`.
   */
  requestEnded(method: string, status: number, form: RouteFormLabel, proxyType: ProxyType, durationMs: number): void;
  /** The head of a sandbox's answer came, or a tunnel's, so long after the head of the request. */
  answered(proxyType: ProxyType, afterMs: number): void;
  /** What an exchange moved in all; called when it ends. */
  moved(proxyType: ProxyType, bytes: ByteCounts): void;
  /** A request was refused by the ingress itself. */
  refused(code: IngressErrorCode): void;
  /** A look-up of a sandbox ended. */
  resolved(result: RoutingResult, durationMs: number): void;
  /** A connect to an upstream was seen to end: every tunnel's, and every failed one of a request. */
  connected(result: ConnectResult, proxyType: ProxyType, durationMs: number): void;
  /** An exchange was ended because memory was short. */
  endedForMemory(): void;
  tunnelOpened(): void;
  tunnelClosed(): void;
}

/** Counts nothing. */
export const noProxyMetrics: ProxyMetrics = {
  requestStarted() {},
  requestEnded() {},
  answered() {},
  moved() {},
  refused() {},
  resolved() {},
  connected() {},
  endedForMemory() {},
  tunnelOpened() {},
  tunnelClosed() {},
};
