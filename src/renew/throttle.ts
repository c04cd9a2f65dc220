import type { Clock } from "../clock.ts";
import type { SandboxRecord } from "../sandbox/provider.ts";

/**
 * Maximum number of sandboxes that the throttle remembers: twice the planned 100,000, at about 50 bytes each. Above it,
 * the older half is forgotten early, so some sandboxes renew more often than configured: more intents, never a missing
 * one.
 */
export const THROTTLE_MAX_SANDBOXES = 200_000;

/** Allows one intent per sandbox and interval. */
export interface Throttle {
  /** Whether an intent for the sandbox is due now. If it is, the next one is due one interval later. */
  take(record: SandboxRecord): boolean;
  /** Makes the sandbox's next intent due at once. */
  forget(record: SandboxRecord): void;
  /** The number of remembered sandboxes. */
  size(): number;
}

/**
 * A throttle by `metadata.uid` (OSEP-0009). `minIntervalMs` 0 allows every use and remembers nothing.
 *
 * Two generations of a map replace a timer: each interval the older one is dropped as a whole, after all its entries
 * have expired. So a call costs one or two look-ups for any number of sandboxes, and at most `maxSandboxes` are
 * remembered.
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
