import type { Clock } from "../../clock.ts";
import type { Rate } from "../../quantity.ts";

/**
 * How many sandboxes with recent requests are remembered: as many as a large cluster has. Each takes about 100 bytes.
 * When it is full, the sandbox with the oldest last request is forgotten, so its next requests begin with an empty
 * bucket.
 */
export const RATED_SANDBOXES_MAX = 100_000;

/** How many sandboxes are checked for each request, so that sandboxes without requests are forgotten in time. */
const LOOKED_AT = 2;

/** Largest error of a sum of fractions, in milliseconds: a drop that just fits must not be refused for it. */
const ROUNDING_MS = 1;

/** Counts the requests to each sandbox, from all clients together: a leaky bucket by uid, in bounded memory. */
export class SandboxRates {
  readonly #clock: Clock;
  readonly #max: number;
  /** Uid → monotonic time at which the bucket is empty; the sandbox with the oldest request comes first. */
  readonly #emptyAtMs = new Map<string, number>();

  constructor(clock: Clock, max = RATED_SANDBOXES_MAX) {
    this.#clock = clock;
    this.#max = max;
  }

  /** Sandboxes remembered: at most `max`. */
  get size(): number {
    return this.#emptyAtMs.size;
  }

  /** Milliseconds until the sandbox may get one more request; 0: now. */
  waitMs(uid: string, { burst, leakMs }: Rate): number {
    const nowMs = this.#clock.monotonic();
    const filledMs = this.#filledTo(uid, { burst, leakMs }) - nowMs;
    const excessMs = filledMs - (burst - 1) * leakMs;
    return excessMs > Math.min(ROUNDING_MS, leakMs / 2) ? excessMs : 0;
  }

  /** Counts one request. */
  add(uid: string, rate: Rate): void {
    const emptyAtMs = this.#filledTo(uid, rate) + rate.leakMs;
    this.#emptyAtMs.delete(uid);
    this.#dropOldest(this.#clock.monotonic());
    this.#emptyAtMs.set(uid, emptyAtMs);
  }

  /** The sandbox is gone. */
  forget(uid: string): void {
    this.#emptyAtMs.delete(uid);
  }

  /**
   * When the bucket is empty. The bucket is never more than full, so a higher rate takes effect at once, whatever the
   * old one was.
   */
  #filledTo(uid: string, { burst, leakMs }: Rate): number {
    const nowMs = this.#clock.monotonic();
    const emptyAtMs = this.#emptyAtMs.get(uid) ?? nowMs;
    const fullMs = nowMs + burst * leakMs;
    if (emptyAtMs <= fullMs) return Math.max(emptyAtMs, nowMs);
    // The bucket begins to leak now, not at each check.
    this.#emptyAtMs.set(uid, fullMs);
    return fullMs;
  }

  #dropOldest(nowMs: number): void {
    let left = LOOKED_AT;
    for (const [uid, emptyAtMs] of this.#emptyAtMs) {
      if (left === 0 || (emptyAtMs > nowMs && this.#emptyAtMs.size < this.#max)) return;
      this.#emptyAtMs.delete(uid);
      left -= 1;
    }
  }
}
