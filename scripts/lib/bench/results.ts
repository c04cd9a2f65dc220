import { isObject } from "../../../src/values.ts";
import { CONTENDERS, type ContenderName } from "./contender-names.ts";
import { type Machine, parseMachine } from "./machine.ts";
import {
  type CaseResult,
  type ContenderResult,
  type Measurement,
  type Metric,
  NO_MEASUREMENT,
  summarize,
} from "./measurement.ts";

/** Everything that was measured with one binary on one machine on one day. */
export interface BenchResults {
  readonly machine: Machine;
  /** Of load in each round. */
  readonly seconds: number;
  readonly cases: readonly CaseResult[];
}

/** Two results that do not belong together. */
export class MergeError extends Error {}

/** Digits that are kept: rounds differ in the second one. */
const KEPT_DIGITS = 4;
const METRICS = ["perSecond", "cpu", "p50Ms", "p99Ms", "residentMb", "kbEach", "startMs"] as const;
const UNITS: readonly CaseResult["unit"][] = ["requests", "messages", "frames", "GB", "starts", "records"];

/**
 * Adds the cases of a later run to those of an earlier one. A case that both have is taken from the later one, whole:
 * its ratios hold only between rounds that followed each other.
 *
 * Throws a MergeError if the binary, the machine, a program, the day or the length of a round is another one.
 */
export function mergeResults(earlier: BenchResults, later: BenchResults, order: readonly string[] = []): BenchResults {
  const difference = describeDifference(earlier, later);
  if (difference !== undefined) throw new MergeError(`Cannot merge: ${difference}`);
  const cases = new Map([...earlier.cases, ...later.cases].map((each) => [each.name, each]));
  const place = (name: string): number => (order.includes(name) ? order.indexOf(name) : order.length);
  return { ...earlier, cases: [...cases.values()].toSorted((a, b) => place(a.name) - place(b.name)) };
}

function describeDifference(earlier: BenchResults, later: BenchResults): string | undefined {
  if (earlier.seconds !== later.seconds) return `the rounds took ${earlier.seconds} s, and now take ${later.seconds} s`;
  const describe = ({ machine }: BenchResults): ReadonlyMap<string, string> =>
    new Map(
      Object.entries({ ...machine, date: machine.date.slice(0, 10), ...machine.versions, versions: "" }).map(
        ([name, value]) => [name, String(value)],
      ),
    );
  const [before, now] = [describe(earlier), describe(later)];
  const different = [...new Set([...before.keys(), ...now.keys()])].find((key) => before.get(key) !== now.get(key));
  return different === undefined
    ? undefined
    : `${different} was ${before.get(different) ?? "missing"} and is ${now.get(different) ?? "missing"}`;
}

/** A case as a full run has it. */
export interface WantedCase {
  readonly name: string;
  readonly contenders: readonly ContenderName[];
}

/**
 * What a document of these results would lack, one text for a case. Empty: they are complete. Only `go` may be missing.
 */
export function findGaps(results: BenchResults, wanted: readonly WantedCase[], rounds: number): readonly string[] {
  return wanted.flatMap(({ name, contenders }) => {
    const found = results.cases.find((each) => each.name === name);
    if (found === undefined) return [`the case ${name}`];
    const lacking = contenders.filter((contender) => {
      const own = found.contenders.find((each) => each.name === contender);
      return contender !== "go" && (own?.rounds.length ?? 0) < rounds;
    });
    return lacking.length === 0 ? [] : [`${rounds} rounds of ${lacking.join(", ")} in the case ${name}`];
  });
}

/** The results as they are written: each metric of a contender with its rounds; those not measured are left out. */
export function toPlainResults(results: BenchResults): Readonly<Record<string, unknown>> {
  const cases = results.cases.map(({ contenders, ...about }) => ({
    ...about,
    contenders: contenders.map(({ name, rounds }) => ({ name, rounds: toColumns(rounds) })),
  }));
  return { ...results, cases };
}

function toColumns(rounds: readonly Measurement[]): Readonly<Record<string, readonly number[]>> {
  const columns = METRICS.map((metric) => [metric, rounds.map((round) => round[metric])] as const);
  return Object.fromEntries(
    columns
      .filter(([, values]) => !values.some(Number.isNaN))
      .map(([metric, values]) => [metric, values.map((value) => Number(value.toPrecision(KEPT_DIGITS)))]),
  );
}

/** Reads what `toPlainResults` gave. Throws an Error that says what is wrong with other values. */
export function parseResults(value: unknown): BenchResults {
  if (!isObject(value) || !Array.isArray(value["cases"])) throw new Error("no results of ./scripts/bench");
  const machine = parseMachine(value["machine"]);
  return { machine, seconds: Number(value["seconds"]), cases: listOf(value["cases"]).map(parseCase) };
}

function parseCase(value: Readonly<Record<string, unknown>>): CaseResult {
  const name = String(value["name"]);
  return {
    name,
    title: String(value["title"]),
    unit: oneOf(UNITS, value["unit"], name),
    compared: oneOf(METRICS, value["compared"], name),
    contenders: listOf(value["contenders"]).map((each) => parseContender(each, name)),
  };
}

function parseContender(value: Readonly<Record<string, unknown>>, where: string): ContenderResult {
  const { rounds: columns } = value;
  if (!isObject(columns)) throw new Error(`no rounds in ${where}`);
  const rounds: Partial<Record<Metric, number>>[] = [];
  for (const metric of METRICS) {
    const numbers: unknown = columns[metric];
    if (!Array.isArray(numbers)) continue;
    for (const [index, number] of numbers.entries()) rounds[index] = { ...rounds[index], [metric]: Number(number) };
  }
  return summarize(
    oneOf(CONTENDERS, value["name"], where),
    rounds.map((round) => ({ ...NO_MEASUREMENT, ...round })),
  );
}

function listOf(value: unknown): readonly Readonly<Record<string, unknown>>[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

function oneOf<T extends string>(choices: readonly T[], value: unknown, where: string): T {
  const found = choices.find((choice) => choice === value);
  if (found === undefined) throw new Error(`unknown ${String(value)} in ${where}`);
  return found;
}
