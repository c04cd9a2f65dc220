import type { Labels } from "./cells.ts";

/** What an instrument reads: one number, numbers by labels, or undefined where there is nothing to tell. */
export type Reading = number | undefined | Iterable<{ readonly labels: Labels; readonly value: number }>;

/**
 * A counter or gauge whose numbers live elsewhere. Names and units are docs/contract.md §8's, and its scheme for what
 * it lacks.
 */
export interface InstrumentSpec {
  readonly name: string;
  /** `sum`: may fall, but adds up over processes. */
  readonly kind: "counter" | "gauge" | "sum";
  /** UCUM; absent: a count of things. */
  readonly unit?: string;
  readonly description: string;
  readonly read: () => Reading | Promise<Reading>;
}

/** Numbers that differ in one label. */
export function byLabel(name: string, values: Readonly<Record<string, number>>): Exclude<Reading, number | undefined> {
  return Object.entries(values).map(([label, value]) => ({ labels: { [name]: label }, value }));
}
