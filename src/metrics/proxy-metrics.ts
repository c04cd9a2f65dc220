import type { IngressErrorCode } from "../errors.ts";
import type { RouteFormLabel } from "../route/route.ts";

/** The result of connecting to an upstream: `connect_result` in docs/contract.md §8. */
export type ConnectResult = "success" | "timeout" | "unreachable" | "refused" | "dns_error" | "canceled" | "other";
/** docs/contract.md §8 `routing_result`. */
export type RoutingResult = "success" | "not_found" | "not_ready" | "error";
export type ProxyType = "http" | "websocket";

/** How a request that finds a paused sandbox meets its wake: OSEP-0024's `outcome`. */
export type WakeOutcome = "triggered" | "joined" | "none";
/** How the wait for a wake ended: OSEP-0024's `outcome`. */
export type ParkOutcome = "served" | "budget_exhausted" | "canceled" | "error";
/** Bytes of bodies and WebSocket messages: `in` from clients, `out` to clients. */
export interface ByteCounts {
  readonly in: number;
  readonly out: number;
}

/**
 * The reports of the proxy. They are called once or a few times for each request, so an implementation only changes
 * numbers in its cells. All labels are from bounded sets; an unknown method counts as `_OTHER`.
 */
export interface ProxyMetrics {
  /** A request has arrived and counts as in flight. One `requestEnded` follows each call. */
  requestStarted(): void;
  /**
   * The answer ended, or the tunnel closed. A tunnel's duration is its whole life, as in the Go ingress; `proxyType`
   * separates its hours from the times of answers.
   */
  requestEnded(method: string, status: number, form: RouteFormLabel, proxyType: ProxyType, durationMs: number): void;
  /** The head of a sandbox's answer came, or a tunnel's, so long after the head of the request. */
  answered(proxyType: ProxyType, afterMs: number): void;
  /** What an exchange moved in all; called when it ends. */
  moved(proxyType: ProxyType, bytes: ByteCounts): void;
  /** The ingress itself refused a request. */
  refused(code: IngressErrorCode): void;
  /** A look-up of a sandbox ended. */
  resolved(result: RoutingResult, durationMs: number): void;
  /** A connect to an upstream ended. Called for every tunnel, and for requests only if the connect failed. */
  connected(result: ConnectResult, proxyType: ProxyType, durationMs: number): void;
  /** An exchange was ended because memory was low. */
  endedForMemory(): void;
  tunnelOpened(): void;
  tunnelClosed(): void;
  /** A request would wake a sandbox. */
  wakeAsked(outcome: WakeOutcome): void;
  /** A request begins to wait for a wake. Every call is matched by one `unparked`. */
  parked(): void;
  unparked(outcome: ParkOutcome, durationMs: number): void;
  /** A request could not wait for a wake: all places were taken. */
  parkShed(): void;
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
  wakeAsked() {},
  parked() {},
  unparked() {},
  parkShed() {},
};
