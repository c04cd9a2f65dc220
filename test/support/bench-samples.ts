import type { ContenderName } from "../../scripts/lib/bench/contender-names.ts";
import type { Machine } from "../../scripts/lib/bench/machine.ts";
import { type CaseResult, type Measurement, NO_MEASUREMENT, summarize } from "../../scripts/lib/bench/measurement.ts";

export const MACHINE: Machine = {
  date: "2026-01-02T03:04",
  processor: "A processor",
  cores: 2,
  memoryGb: 25,
  kernel: "6.18.44-vendor",
  binary: "0123456789ab",
  versions: { bun: "1.4.5", nginx: "1.22.1" },
};

/** A case in which each contender has the given rounds. */
export function sampleCase(
  about: Partial<Omit<CaseResult, "contenders">>,
  contenders: Readonly<Partial<Record<ContenderName, readonly Partial<Measurement>[]>>>,
): CaseResult {
  return {
    name: "get-1k-64",
    title: "GET 1 KB, 64 connections",
    unit: "requests",
    compared: "perSecond",
    ...about,
    contenders: entriesOf(contenders).map(([name, rounds]) =>
      summarize(
        name,
        rounds.map((round) => ({ ...NO_MEASUREMENT, ...round })),
      ),
    ),
  };
}

function entriesOf<Key extends string, Value>(record: Readonly<Partial<Record<Key, Value>>>): readonly [Key, Value][] {
  const entries: [Key, Value][] = [];
  for (const key in record) {
    const value = record[key];
    if (value !== undefined) entries.push([key, value]);
  }
  return entries;
}
