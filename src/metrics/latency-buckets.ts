/** The upper bound of the first bucket, in milliseconds: no request through a proxy is faster. */
const FIRST_BOUND_MS = 0.1;
/** Buckets for each doubling: a quantile is then right to some 10 %. */
const BUCKETS_PER_DOUBLING = 4;
/** The last bucket begins at 0.1 ms × 2^20, 29 hours. */
const BUCKETS = 20 * BUCKETS_PER_DOUBLING + 1;

/** Counts of durations in buckets that grow with them: finer than the histograms that are exported, and in 650 bytes. */
export class LatencyBuckets {
  readonly counts: Float64Array;

  constructor(counts: Float64Array = new Float64Array(BUCKETS)) {
    this.counts = counts;
  }

  /** @param durationMs Anything that is not above `FIRST_BOUND_MS`, NaN too, counts in the first bucket. */
  record(durationMs: number): void {
    const bucket =
      durationMs > FIRST_BOUND_MS ? Math.ceil(Math.log2(durationMs / FIRST_BOUND_MS) * BUCKETS_PER_DOUBLING) : 0;
    const index = bucket < BUCKETS ? bucket : BUCKETS - 1;
    this.counts[index] = (this.counts[index] ?? 0) + 1;
  }

  /** What was counted since `earlier`, a copy of the counts. */
  since(earlier: ArrayLike<number>): LatencyBuckets {
    return new LatencyBuckets(this.counts.map((count, index) => count - (earlier[index] ?? 0)));
  }

  /** The duration in milliseconds below which a part `q` (0 to 1) of all lie; undefined: nothing was counted. */
  quantile(q: number): number | undefined {
    return quantileOf(this.counts, q, (bucket) => FIRST_BOUND_MS * 2 ** (bucket / BUCKETS_PER_DOUBLING));
  }
}

/**
 * The value below which a part `q` of what was counted lies, between the bounds of its bucket in proportion. `boundOf` gives the
 * upper bound of a bucket; a last bucket without one gives its lower bound. Undefined: nothing was counted.
 */
export function quantileOf(
  counts: ArrayLike<number>,
  q: number,
  boundOf: (bucket: number) => number | undefined,
): number | undefined {
  let total = 0;
  for (let bucket = 0; bucket < counts.length; bucket++) total += counts[bucket] ?? 0;
  if (total === 0) return undefined;
  const wanted = q * total;
  let below = 0;
  for (let bucket = 0; bucket < counts.length; bucket++) {
    const count = counts[bucket] ?? 0;
    if (count > 0 && below + count >= wanted) {
      const lower = bucket === 0 ? 0 : (boundOf(bucket - 1) ?? 0);
      const upper = boundOf(bucket) ?? lower;
      return lower + ((upper - lower) * Math.max(0, wanted - below)) / count;
    }
    below += count;
  }
  return undefined;
}
