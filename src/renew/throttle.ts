import type { Clock } from "../clock.ts";
import type { SandboxRecord } from "../sandbox/provider.ts";

/**
 * How many sandboxes the throttle remembers at most: twice the 100,000 that one ingress is built for, at about 50 bytes
 * each. Beyond it the older half is forgotten early, so some sandboxes renew more often than asked for: more intents,
 * never a missing one.
 */
export const THROTTLE_MAX_SANDBOXES = 200_000;

/** Lets a sandbox through once each interval. */
export interface Throttle {
  /** Whether an intent for the sandbox is due now; if so, the next one is due one interval later. */
  take(record: SandboxRecord): boolean;
  /** The sandbox's next intent is due at once. */
  forget(record: SandboxRecord): void;
  /** How many sandboxes are remembered. */
  size(): number;
}

/**
 * A throttle by `metadata.uid` (OSEP-0009). `minIntervalMs` 0 lets every use through and remembers nothing.
 *
 * Two generations of a map instead of a timer or a sweep: each interval the older one is thrown away whole, when every
 * entry in it has expired. So each call costs one or two look-ups whatever the number of sandboxes, and what is
 * remembered is at most `maxSandboxes`.
 */
export function createThrottle(clock: Clock, minIntervalMs: number, options: { maxSandboxes?: number } = {}): Throttle {
  if (minIntervalMs <= 0) return { take: () => true, forget() {}, size: () => 0 };
  const generationMax = Math.max(1, Math.floor((options.maxSandboxes ?? THROTTLE_MAX_SANDBOXES) / 2));
  let young = new Map<string, number>();
  let old = new Map<string, number>();
  let youngSince = clock.monotonic();

  return {
    take(record) {
      const now = clock.monotonic();
      if (now - youngSince >= minIntervalMs) {
        old = now - youngSince >= 2 * minIntervalMs ? new Map<string, number>() : young;
        young = new Map();
        youngSince = now;
      }
      const last = young.get(record.uid) ?? old.get(record.uid);
      if (last !== undefined && now - last < minIntervalMs) return false;
      if (young.size >= generationMax) {
        old = young;
        young = new Map();
        youngSince = now;
      }
      young.set(record.uid, now);
      return true;
    },
    forget(record) {
      young.delete(record.uid);
      old.delete(record.uid);
    },
    size: () => young.size + old.size,
  };
}
