/** The middle value; NaN if there are none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  const lower = sorted[Math.ceil(sorted.length / 2) - 1] ?? Number.NaN;
  return (lower + upper) / 2;
}

/** The median of several values, and their range. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function spreadOf(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** Microseconds in a bucket: a hundredth of what one hop takes on a busy machine. */
const BUCKET_US = 10;
/** One second. A longer time counts as one second. */
const BUCKETS = 100_000;

/** Latencies in bounded memory, exact to 10 us below a second. */
export class LatencyHistogram {
  readonly #buckets = new Uint32Array(BUCKETS);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(milliseconds: number): void {
    const bucket = Math.min(BUCKETS - 1, Math.max(0, Math.floor((milliseconds * 1000) / BUCKET_US)));
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
    this.#count++;
  }

  reset(): void {
    this.#buckets.fill(0);
    this.#count = 0;
  }

  /** The latency in milliseconds that `part` (0 to 1) of all do not exceed; 0 if there are none. */
  percentile(part: number): number {
    const wanted = Math.ceil(this.#count * part);
    let seen = 0;
    for (const [bucket, count] of this.#buckets.entries()) {
      seen += count;
      if (seen >= wanted && count > 0) return ((bucket + 1) * BUCKET_US) / 1000;
    }
    return 0;
  }
}
