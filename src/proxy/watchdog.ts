import type { Clock, Timer } from "../clock.ts";
import { IngressError } from "../errors.ts";
import { canReach } from "./can-reach.ts";
import type { Exchange } from "./exchange.ts";
import { Slots } from "./slots.ts";

/**
 * How often everything in flight is looked at, in milliseconds: the granularity of time limits, and how late a client is
 * missed that leaves within it. One timer for all exchanges.
 */
const SWEEP_INTERVAL_MS = 500;

/**
 * Seconds after which Bun closes a quiet client connection. More than the longest that known pools keep idle ones
 * (Go, 90 s) plus `REARM_INTERVAL_MS`, so that it is always the client who closes first; at most 255 for Bun.
 */
export const CLIENT_IDLE_SECONDS = 150;

/**
 * How often the idle timer of a client connection is wound up while a request is open on it, in milliseconds: so a
 * quiet stream lives, and the connection still has an idle timer when the stream is over.
 */
const REARM_INTERVAL_MS = 30_000;

/** The time limits of an exchange, in milliseconds. */
export interface WatchdogLimits {
  readonly connectTimeoutMs: number;
  /** 0: none. */
  readonly responseTimeoutMs: number;
  /** 0: none. */
  readonly streamIdleTimeoutMs: number;
}

/** Watches over everything in flight: one sweep instead of a timer for each request. */
export interface Watchdog {
  /** Begins to watch; `forget` follows exactly once. */
  watch(exchange: Exchange): void;
  forget(exchange: Exchange): void;
  start(): void;
  stop(): void;
}

/**
 * @param onSweep Called at the end of each sweep with the monotonic time, for others who need a slow clock.
 * @param rearm Winds up the idle timer of the client connection that `request` came over.
 */
export function createWatchdog(
  limits: WatchdogLimits,
  seams: { readonly clock: Clock; rearm(request: Request): void; onSweep(nowMs: number): void },
): Watchdog {
  const watched = new Slots<Exchange>();
  let timer: Timer | undefined;

  const sweep = (): void => {
    const now = seams.clock.monotonic();
    for (const exchange of watched) {
      exchange.watchClient();
      checkLimits(exchange, limits, now);
      if (now - exchange.rearmedAt >= REARM_INTERVAL_MS) {
        exchange.rearmedAt = now;
        seams.rearm(exchange.subject.request);
      }
    }
    seams.onSweep(now);
    timer = seams.clock.setTimer(SWEEP_INTERVAL_MS, sweep);
  };
  return {
    watch: (exchange) => void (exchange.watchSlot = watched.add(exchange)),
    forget: (exchange) => watched.remove(exchange.watchSlot),
    start: () => (timer ??= seams.clock.setTimer(SWEEP_INTERVAL_MS, sweep)),
    stop() {
      timer?.cancel();
      timer = undefined;
    },
  };
}

function checkLimits(exchange: Exchange, limits: WatchdogLimits, now: number): void {
  if (exchange.headAt > 0) {
    if (
      limits.streamIdleTimeoutMs > 0 &&
      now - Math.max(exchange.activeAt, exchange.headAt) >= limits.streamIdleTimeoutMs
    ) {
      exchange.cut(new IngressError("upstream_timeout"));
    }
    return;
  }
  if (exchange.sentAt === 0) return;
  const waitedMs = now - exchange.sentAt;
  if (limits.responseTimeoutMs > 0 && waitedMs >= limits.responseTimeoutMs) {
    exchange.cut(new IngressError("upstream_timeout"));
  } else if (!exchange.probed && waitedMs >= limits.connectTimeoutMs) {
    exchange.probed = true;
    void probe(exchange, limits.connectTimeoutMs);
  }
}

/**
 * `fetch` does not tell connecting from waiting: so a connection beside it does. Only silence condemns the sandbox;
 * one that refuses is there, and may well be finishing the request that it has (a server that shuts down).
 */
async function probe(exchange: Exchange, timeoutMs: number): Promise<void> {
  const { hostPort } = exchange.subject;
  const reachable = await canReach(hostPort, timeoutMs);
  if (!reachable && exchange.headAt === 0) exchange.cut(new IngressError("upstream_unreachable"));
}
