/** Labels of a series. Every value is from a bounded set. */
export type Labels = Readonly<Record<string, string | number>>;

/** One counter. Exports read its value. */
export interface CounterCell {
  readonly labels: Labels;
  value: number;
}

/**
 * Counters that differ in labels. A key stands for the labels. They are created at the first count and never removed.
 */
export class CounterCells<K> {
  readonly #cells = new Map<K, CounterCell>();
  readonly #labelsOf: (key: K) => Labels;

  constructor(labelsOf: (key: K) => Labels) {
    this.#labelsOf = labelsOf;
  }

  add(key: K): void {
    const cell = this.#cells.get(key) ?? this.#create(key);
    cell.value += 1;
  }

  values(): Iterable<CounterCell> {
    return this.#cells.values();
  }

  #create(key: K): CounterCell {
    const cell = { labels: this.#labelsOf(key), value: 0 };
    this.#cells.set(key, cell);
    return cell;
  }
}

/**
 * One series of a histogram: a count for each bucket, with inclusive upper bounds as in OpenTelemetry and Prometheus.
 */
export class HistogramCell {
  readonly labels: Labels;
  /** Upper bounds, ascending. The last bucket of `counts` has no bound. */
  readonly bounds: readonly number[];
  readonly counts: Float64Array;
  sum = 0;

  constructor(labels: Labels, bounds: readonly number[]) {
    this.labels = labels;
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  record(value: number): void {
    const { bounds, counts } = this;
    let bucket = 0;
    // Most values are small and the bounds are few, so this is faster than a binary search.
    while (bucket < bounds.length && value > (bounds[bucket] ?? Number.POSITIVE_INFINITY)) bucket += 1;
    counts[bucket] = (counts[bucket] ?? 0) + 1;
    this.sum += value;
  }
}

/** The description of a histogram. */
export interface HistogramSpec {
  readonly name: string;
  readonly unit: string;
  readonly description: string;
  readonly bounds: readonly number[];
}

/** A histogram to export: its description and its series. */
export interface HistogramSource {
  readonly spec: HistogramSpec;
  values(): Iterable<HistogramCell>;
}

/** Histograms that differ in labels. */
export class HistogramCells<K> implements HistogramSource {
  readonly spec: HistogramSpec;
  readonly #cells = new Map<K, HistogramCell>();
  readonly #labelsOf: (key: K) => Labels;

  constructor(spec: HistogramSpec, labelsOf: (key: K) => Labels) {
    this.spec = spec;
    this.#labelsOf = labelsOf;
  }

  /** The series for the key. It is created at first use and never removed. */
  at(key: K): HistogramCell {
    let cell = this.#cells.get(key);
    if (cell === undefined) {
      cell = new HistogramCell(this.#labelsOf(key), this.spec.bounds);
      this.#cells.set(key, cell);
    }
    return cell;
  }

  values(): Iterable<HistogramCell> {
    return this.#cells.values();
  }
}
