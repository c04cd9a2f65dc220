import type { Clock } from "../clock.ts";
import { clientNetwork } from "./client-network.ts";

/** Failed signature checks that a pair may make at once: a page of stale links must not lock its reader out. */
export const FAILURE_BURST = 20;

/**
 * Milliseconds after which a pair may fail once more: ten failures a minute. At that rate a client needs four hundred
 * years to have tried one half of the 2^32 signatures of a route. Below the `Retry-After` of the refusal, 10 s, so
 * that a client that heeds it is heard again.
 */
export const FAILURE_REFILL_MS = 6_000;

/**
 * Pairs remembered. About 12 MB of heap when full, which only an attack can bring about: 65,536 pairs forgive 10,900 failures
 * a second by themselves, and a pair that has been forgiven is dropped.
 */
export const FAILURE_PAIRS_MAX = 65_536;

/** Who failed at what: the unit in which failures are counted. */
export interface FailurePair {
  /** The sandbox's `metadata.uid`. */
  readonly sandboxUid: string;
  readonly clientAddress: string;
}

/** Counts failed signature checks by pair of sandbox and client. Synchronous; never throws. */
export interface FailureLimiter {
  /** Whether the pair has failed so often that its next signature must not even be compared. */
  isThrottled(pair: FailurePair): boolean;
  /** Counts one failure of the pair. */
  record(pair: FailurePair): void;
  /** How many pairs are remembered: at most `maxPairs`. */
  size(): number;
}

export interface FailureLimiterOptions {
  /** Only its monotonic time is used: a step of the wall clock neither forgives nor locks out. */
  readonly clock: Clock;
  /** Default: `FAILURE_PAIRS_MAX`. At least 1. */
  readonly maxPairs?: number;
}

/**
 * Creates a limiter in bounded memory: a leaky bucket for each pair, kept as the time at which it will have leaked
 * empty.
 *
 * When the table is full, the pair that is closest to being forgiven makes room. So nobody is throttled for what
 * others did, a new pair is always counted, and who wants a pair forgotten early must bring all others in the table
 * above it: as many failures as the whole table forgives in the meantime, of which each is a guess spent elsewhere.
 */
export function createFailureLimiter(options: FailureLimiterOptions): FailureLimiter {
  return new LeakyFailureLimiter(options.clock, options.maxPairs ?? FAILURE_PAIRS_MAX);
}

class LeakyFailureLimiter implements FailureLimiter {
  readonly #clock: Clock;
  readonly #maxPairs: number;
  /** Pair → monotonic time at which nothing of its failures is left. */
  readonly #forgivenAtMs = new Map<string, number>();
  /** The same pairs by that time in units of `FAILURE_REFILL_MS`: at most `FAILURE_BURST + 2` slots are in use. */
  readonly #slots = new Map<number, Set<string>>();

  constructor(clock: Clock, maxPairs: number) {
    this.#clock = clock;
    this.#maxPairs = maxPairs;
  }

  isThrottled(pair: FailurePair): boolean {
    if (this.#forgivenAtMs.size === 0) return false;
    const forgivenAtMs = this.#forgivenAtMs.get(keyOf(pair));
    if (forgivenAtMs === undefined) return false;
    return forgivenAtMs - this.#clock.monotonic() > (FAILURE_BURST - 1) * FAILURE_REFILL_MS;
  }

  record(pair: FailurePair): void {
    const nowMs = this.#clock.monotonic();
    this.#dropForgiven(nowMs);
    const key = keyOf(pair);
    const before = this.#forgivenAtMs.get(key);
    if (before === undefined) this.#makeRoom();
    else this.#removeFromSlot(key, before);
    const after = Math.min(
      Math.max(before ?? nowMs, nowMs) + FAILURE_REFILL_MS,
      nowMs + FAILURE_BURST * FAILURE_REFILL_MS,
    );
    this.#forgivenAtMs.set(key, after);
    const slot = this.#slots.get(slotOf(after));
    if (slot === undefined) this.#slots.set(slotOf(after), new Set([key]));
    else slot.add(key);
  }

  size(): number {
    return this.#forgivenAtMs.size;
  }

  #dropForgiven(nowMs: number): void {
    for (const [slot, keys] of this.#slots) {
      if (slot >= slotOf(nowMs)) continue;
      for (const key of keys) this.#forgivenAtMs.delete(key);
      this.#slots.delete(slot);
    }
  }

  #makeRoom(): void {
    if (this.#forgivenAtMs.size < this.#maxPairs) return;
    const lowest = Math.min(...this.#slots.keys());
    for (const key of this.#slots.get(lowest) ?? []) {
      this.#removeFromSlot(key, lowest * FAILURE_REFILL_MS);
      this.#forgivenAtMs.delete(key);
      return;
    }
  }

  #removeFromSlot(key: string, forgivenAtMs: number): void {
    const slot = this.#slots.get(slotOf(forgivenAtMs));
    slot?.delete(key);
    if (slot?.size === 0) this.#slots.delete(slotOf(forgivenAtMs));
  }
}

function keyOf(pair: FailurePair): string {
  return `${pair.sandboxUid}\n${clientNetwork(pair.clientAddress)}`;
}

function slotOf(forgivenAtMs: number): number {
  return Math.floor(forgivenAtMs / FAILURE_REFILL_MS);
}
