import { median, type Spread, spreadOf } from "./statistics.ts";
import type { ContenderName } from "./contender-names.ts";

/** The numbers of one round of one contender. `NaN`: not measured. */
export interface Measurement {
  /** Requests, messages, frames or gigabytes a second. */
  readonly perSecond: number;
  /** CPU seconds of the contender (not of load and upstream) per million of these, or per gigabyte of a transfer. */
  readonly cpu: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Resident memory at the end. */
  readonly residentMb: number;
  /** Memory per open stream or tunnel (resident) or per record of the table (heap). */
  readonly kbEach: number;
  /** From the start of the process to its first forwarded answer. */
  readonly startMs: number;
}

export type Metric = keyof Measurement;

export const NO_MEASUREMENT: Measurement = {
  perSecond: Number.NaN,
  cpu: Number.NaN,
  p50Ms: Number.NaN,
  p99Ms: Number.NaN,
  residentMb: Number.NaN,
  kbEach: Number.NaN,
  startMs: Number.NaN,
};

/** All rounds of one contender in one case. */
export interface ContenderResult {
  readonly name: ContenderName;
  readonly rounds: readonly Measurement[];
  readonly medians: Measurement;
}

/** All of one case. */
export interface CaseResult {
  readonly name: string;
  readonly title: string;
  readonly unit: "requests" | "messages" | "frames" | "GB" | "starts" | "records";
  /** The compared number. */
  readonly compared: Metric;
  readonly contenders: readonly ContenderResult[];
}

export function summarize(name: ContenderName, rounds: readonly Measurement[]): ContenderResult {
  const of = (metric: Metric): number => median(rounds.map((round) => round[metric]));
  const medians: Measurement = {
    perSecond: of("perSecond"),
    cpu: of("cpu"),
    p50Ms: of("p50Ms"),
    p99Ms: of("p99Ms"),
    residentMb: of("residentMb"),
    kbEach: of("kbEach"),
    startMs: of("startMs"),
  };
  return { name, rounds, medians };
}

/**
 * One contender divided by another: round by round, because two rounds that follow each other meet the same machine.
 * Undefined where either took no part.
 */
export function ratioOf(
  result: CaseResult,
  names: { readonly of: ContenderName; readonly to: ContenderName },
  metric: Metric = result.compared,
): Spread | undefined {
  const of = result.contenders.find((each) => each.name === names.of);
  const to = result.contenders.find((each) => each.name === names.to);
  if (of === undefined || to === undefined) return undefined;
  const ratios = of.rounds.map((round, index) => round[metric] / (to.rounds[index]?.[metric] ?? Number.NaN));
  return ratios.length === 0 || ratios.some(Number.isNaN) ? undefined : spreadOf(ratios);
}
