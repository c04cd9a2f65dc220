import type { Clock } from "../clock.ts";

/** Groups of a table's buckets, sorted by the time at which they are empty. A full bucket passes through all groups. */
const SLOTS_PER_BUCKET = 64;

export interface LeakyBucketsOptions {
  /** Only its monotonic time is used: a step of the wall clock neither forgives nor locks out. */
  readonly clock: Clock;
  /** Drops that fill an empty bucket. At least 1. */
  readonly burst: number;
  /** Milliseconds in which one drop leaks. At least 1. */
  readonly leakMs: number;
  /** Maximum number of buckets remembered. At least 1. */
  readonly maxBuckets: number;
}

/**
 * A leaky bucket for each key, in bounded memory. A bucket is stored as the time at which it will be empty.
 *
 * When the table is full, one of the buckets closest to empty is removed. So no bucket fills because of other keys, and
 * a new drop always counts. To remove a given bucket early, an attacker must fill all others above it. Synchronous;
 * never throws.
 */
export class LeakyBuckets {
  readonly #options: LeakyBucketsOptions;
  readonly #slotMs: number;
  /** Key → monotonic time at which the bucket is empty. */
  readonly #emptyAtMs = new Map<string, number>();
  /** The same keys, grouped by that time in units of `#slotMs`. At most `SLOTS_PER_BUCKET + 2` slots are in use. */
  readonly #slots = new Map<number, Set<string>>();

  constructor(options: LeakyBucketsOptions) {
    this.#options = options;
    this.#slotMs = Math.max(1, (options.burst * options.leakMs) / SLOTS_PER_BUCKET);
  }

  /** Buckets remembered: at most `maxBuckets`. */
  get size(): number {
    return this.#emptyAtMs.size;
  }

  /** Whether one more drop would overflow the bucket. */
  isFull(key: string): boolean {
    const emptyAtMs = this.#emptyAtMs.get(key);
    return emptyAtMs !== undefined && this.#isFullAt(emptyAtMs);
  }

  /** Adds a drop. An overflow is lost. */
  add(key: string): void {
    const { clock, burst, leakMs } = this.#options;
    const nowMs = clock.monotonic();
    this.#dropEmpty(nowMs);
    const before = this.#emptyAtMs.get(key);
    if (before === undefined) this.#makeRoom();
    else this.#removeFromSlot(key, this.#slotOf(before));
    const after = Math.min(Math.max(before ?? nowMs, nowMs) + leakMs, nowMs + burst * leakMs);
    this.#emptyAtMs.set(key, after);
    const slot = this.#slots.get(this.#slotOf(after));
    if (slot === undefined) this.#slots.set(this.#slotOf(after), new Set([key]));
    else slot.add(key);
  }

  /** How many buckets are full now. Inspects each bucket. */
  countFull(): number {
    let count = 0;
    for (const emptyAtMs of this.#emptyAtMs.values()) if (this.#isFullAt(emptyAtMs)) count++;
    return count;
  }

  #isFullAt(emptyAtMs: number): boolean {
    const { clock, burst, leakMs } = this.#options;
    return emptyAtMs - clock.monotonic() > (burst - 1) * leakMs;
  }

  #dropEmpty(nowMs: number): void {
    for (const [slot, keys] of this.#slots) {
      if (slot >= this.#slotOf(nowMs)) continue;
      for (const key of keys) this.#emptyAtMs.delete(key);
      this.#slots.delete(slot);
    }
  }

  #makeRoom(): void {
    if (this.#emptyAtMs.size < this.#options.maxBuckets) return;
    const lowest = Math.min(...this.#slots.keys());
    for (const key of this.#slots.get(lowest) ?? []) {
      this.#removeFromSlot(key, lowest);
      this.#emptyAtMs.delete(key);
      return;
    }
  }

  #removeFromSlot(key: string, index: number): void {
    const slot = this.#slots.get(index);
    slot?.delete(key);
    if (slot?.size === 0) this.#slots.delete(index);
  }

  #slotOf(emptyAtMs: number): number {
    return Math.floor(emptyAtMs / this.#slotMs);
  }
}
