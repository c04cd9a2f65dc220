import type { Labels } from "./cells.ts";

/** What an instrument reads: one number, numbers by labels, or undefined if there is no value. */
export type Reading = number | undefined | Iterable<{ readonly labels: Labels; readonly value: number }>;

/**
 * A counter or gauge whose values are stored elsewhere. Names and units follow docs/contract.md §8, or its scheme.
 */
export interface InstrumentSpec {
  readonly name: string;
  /** `sum`: may fall, but can be added over processes. */
  readonly kind: "counter" | "gauge" | "sum";
  /** UCUM. Missing: a count of things. */
  readonly unit?: string;
  readonly description: string;
  readonly read: () => Reading | Promise<Reading>;
}

/** Numbers that differ in one label. */
export function byLabel(name: string, values: Readonly<Record<string, number>>): Exclude<Reading, number | undefined> {
  return Object.entries(values).map(([label, value]) => ({ labels: { [name]: label }, value }));
}
