// bench.ts: the benchmark after the build; `scripts/bench` calls it and describes it in its usage.
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { CASES } from "./lib/bench/cases.ts";
import type { BenchCase } from "./lib/bench/cases/bench-case.ts";
import { CONTENDERS, type ContenderName } from "./lib/bench/contender-names.ts";
import { BINARY, GO_BINARY, missingPrograms } from "./lib/bench/contenders.ts";
import { describeMachine } from "./lib/bench/machine.ts";
import { type CaseResult, ratioOf } from "./lib/bench/measurement.ts";
import { PERFORMANCE_DOCUMENT, writePerformance } from "./lib/bench/performance-file.ts";
import {
  type BenchResults,
  findGaps,
  MergeError,
  mergeResults,
  parseResults,
  toPlainResults,
} from "./lib/bench/results.ts";
import { type RoundOptions, runCase } from "./lib/bench/rounds.ts";
import { startStage } from "./lib/bench/stage.ts";
import { checkTargets } from "./lib/bench/targets.ts";
import { formatCase, formatMachine, formatRound, formatTargets } from "./lib/bench/tables.ts";

const ROOT = join(import.meta.dir, "..");
const DEFAULT_JSON = join(ROOT, ".cache/bench/result.json");

/**
 * `--check`: the least part of the bare forwarder's throughput that the ingress may have. Both run on the same Bun, in
 * turn, so that the ratio hardly moves with the machine.
 */
const FLOOR = 0.7;
const FLOOR_CASE = "get-1k-64";

type Duration = Pick<RoundOptions, "rounds" | "seconds" | "warmUpSeconds">;
const FULL: Duration = { rounds: 5, seconds: 3, warmUpSeconds: 2 };
const QUICK: Duration = { rounds: 3, seconds: 1, warmUpSeconds: 1 };
const CHECK: Duration = { rounds: 7, seconds: 1, warmUpSeconds: 2 };

interface BenchOptions extends Duration {
  readonly cases: readonly BenchCase[];
  readonly contenders: ReadonlySet<ContenderName>;
  readonly json: string;
  readonly checksFloor: boolean;
  /** Keeps the cases of the file, and measures only those that it lacks unless cases are named. */
  readonly merges: boolean;
  readonly namesCases: boolean;
  /** Begins no case after this time. Infinite without `--minutes`. */
  readonly maxMs: number;
}

function parseOptions(args: string[]): BenchOptions {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: "boolean", default: false },
      check: { type: "boolean", default: false },
      case: { type: "string", multiple: true, default: [] },
      contender: { type: "string", multiple: true, default: [] },
      rounds: { type: "string" },
      seconds: { type: "string" },
      merge: { type: "boolean", default: false },
      minutes: { type: "string" },
      json: { type: "string", default: DEFAULT_JSON },
    },
  });
  for (const name of values.case) {
    if (CASES.every((each) => each.name !== name)) throw new UsageError(`unknown case ${name}`);
  }
  if (values.contender.includes("go") && GO_BINARY === undefined) {
    throw new UsageError("the contender go needs REFERENCE_INGRESS, the path of its binary");
  }
  if (GO_BINARY !== undefined && !existsSync(GO_BINARY)) {
    throw new UsageError(`REFERENCE_INGRESS names no file: ${GO_BINARY}`);
  }
  const chosen = new Set(values.check ? [FLOOR_CASE] : values.case);
  const isChosen = (each: BenchCase): boolean =>
    chosen.size > 0 ? chosen.has(each.name) : !values.quick || each.quick === true;
  const duration = values.check ? CHECK : values.quick ? QUICK : FULL;
  const wanted = values.check ? ["ingress", "bare"] : values.contender;
  const isWanted = (name: ContenderName): boolean =>
    wanted.length === 0 ? name !== "go" || GO_BINARY !== undefined : wanted.includes(name);
  return {
    rounds: parseCount(values.rounds, "--rounds") ?? duration.rounds,
    seconds: parseCount(values.seconds, "--seconds") ?? duration.seconds,
    warmUpSeconds: duration.warmUpSeconds,
    cases: CASES.filter(isChosen),
    contenders: new Set(CONTENDERS.filter(isWanted)),
    json: values.json,
    checksFloor: values.check,
    merges: values.merge,
    namesCases: chosen.size > 0,
    maxMs: (parseCount(values.minutes, "--minutes") ?? Number.POSITIVE_INFINITY) * 60_000,
  };
}

class UsageError extends Error {}

function parseCount(text: string | undefined, flag: string): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new UsageError(`${flag} is not a number from 1: ${text}`);
  return Number(text);
}

/** The results so far, kept in the file after each case, so that a run that is cut loses one case at most. */
function openResults(options: BenchOptions): { current: BenchResults; add(result: CaseResult): Promise<void> } {
  const machine = describeMachine(BINARY, options.contenders.has("go") ? GO_BINARY : undefined);
  const order = CASES.map((each) => each.name);
  const empty: BenchResults = { machine, seconds: options.seconds, cases: [] };
  const isMerged = options.merges && existsSync(options.json);
  const earlier = isMerged ? readResults(options.json) : empty;
  mkdirSync(dirname(options.json), { recursive: true });
  const opened = {
    current: mergeResults(earlier, empty, order),
    async add(result: CaseResult): Promise<void> {
      opened.current = mergeResults(opened.current, { ...empty, cases: [result] }, order);
      await Bun.write(options.json, `${JSON.stringify(toPlainResults(opened.current), null, 2)}\n`);
    },
  };
  return opened;
}

function readResults(path: string): BenchResults {
  try {
    return parseResults(JSON.parse(readFileSync(path, "utf8")));
  } catch (error) {
    throw new MergeError(`Cannot merge with ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function bench(options: BenchOptions): Promise<number> {
  const endsAtMs = performance.now() + options.maxMs;
  const missing = missingPrograms();
  for (const [name, how] of missing) console.log(`${name} is missing, so its numbers are missing; get it with: ${how}`);
  const available = new Set([...options.contenders].filter((name) => !missing.has(name)));
  const results = openResults(options);
  console.log(`${formatMachine(results.current.machine)}\n`);
  const known = new Set(options.namesCases ? [] : results.current.cases.map((each) => each.name));
  const failures: string[] = [];
  const stage = await startStage();
  try {
    for (const benchCase of options.cases.filter(({ name }) => !known.has(name))) {
      if (performance.now() > endsAtMs) break;
      const lacks = [benchCase.needs, benchCase.setup?.tls === true ? "openssl" : undefined].filter(
        (program) => program !== undefined && missing.has(program),
      );
      if (lacks.length > 0) {
        console.log(`${benchCase.name}: needs ${lacks.join(", ")}\n`);
        continue;
      }
      const onRound: RoundOptions["onRound"] = (...round) => process.stderr.write(`${formatRound(...round)}\n`);
      try {
        const result = await runCase(benchCase, stage, { ...options, available, onRound });
        await results.add(result);
        console.log(formatCase(result));
      } catch (error) {
        failures.push(benchCase.name);
        console.log(`${benchCase.name}: FAILED: ${error instanceof Error ? error.message : String(error)}\n`);
      }
    }
  } finally {
    await stage.stop();
  }
  const { cases } = results.current;
  const targets = checkTargets(cases);
  if (targets.length > 0 && !options.checksFloor) console.log(formatTargets(targets));
  console.log(`written to ${options.json}`);
  if (!options.checksFloor) writeDocument(results.current);
  if (failures.length > 0) return 1;
  return options.checksFloor ? checkFloor(cases) : 0;
}

/** Only complete results become the document. */
function writeDocument(results: BenchResults): void {
  const gaps = results.seconds < FULL.seconds ? [`rounds of ${FULL.seconds} s`] : [];
  gaps.push(...findGaps(results, CASES, FULL.rounds));
  if (gaps.length === 0) {
    writePerformance({ bench: results });
    console.log(`written to ${PERFORMANCE_DOCUMENT}`);
    return;
  }
  const [first, ...others] = gaps;
  const more = others.length === 0 ? "" : ` and ${others.length} more`;
  console.log(`${PERFORMANCE_DOCUMENT} stays as it is, because this is no full run: it lacks ${first}${more}`);
}

function checkFloor(results: readonly CaseResult[]): number {
  const result = results.find((each) => each.name === FLOOR_CASE);
  const ratio = result === undefined ? undefined : ratioOf(result, { of: "ingress", to: "bare" });
  if (ratio === undefined) return 1;
  const isMet = ratio.median >= FLOOR;
  console.log(`ingress / bare forwarder: ${ratio.median.toFixed(2)}, floor ${FLOOR}: ${isMet ? "ok" : "TOO SLOW"}`);
  return isMet ? 0 : 1;
}

try {
  process.exitCode = await bench(parseOptions(Bun.argv.slice(2)));
} catch (error) {
  const isUsage =
    error instanceof UsageError || error instanceof MergeError || (error instanceof TypeError && "code" in error);
  if (!isUsage) throw error;
  console.error(`bench: ${error.message} (see --help)`);
  process.exitCode = 2;
}
