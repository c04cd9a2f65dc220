// bench.ts: the benchmark after the build; `scripts/bench` calls it and describes it in its usage.
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { CASES } from "./lib/bench/cases.ts";
import type { BenchCase } from "./lib/bench/cases/bench-case.ts";
import { BINARY, CONTENDERS, type ContenderName, GO_BINARY, missingPrograms } from "./lib/bench/contenders.ts";
import { type CaseResult, ratioOf } from "./lib/bench/measurement.ts";
import { type RoundOptions, runCase } from "./lib/bench/rounds.ts";
import { startStage } from "./lib/bench/stage.ts";
import { checkTargets } from "./lib/bench/targets.ts";
import { describeMachine, formatCase, formatMachine, formatRound, formatTargets } from "./lib/bench/tables.ts";

const ROOT = join(import.meta.dir, "..");
const DEFAULT_JSON = join(ROOT, ".cache/bench/result.json");

/**
 * `--check`: the least part of the bare forwarder's throughput that the ingress may have. Both run on the same Bun, in
 * turn, so that the ratio hardly moves with the machine.
 */
const FLOOR = 0.65;
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
      json: { type: "string", default: DEFAULT_JSON },
    },
  });
  for (const name of values.case) {
    if (CASES.every((each) => each.name !== name)) throw new UsageError(`unknown case ${name}`);
  }
  const chosen = new Set(values.check ? [FLOOR_CASE] : values.case);
  const isChosen = (each: BenchCase): boolean =>
    chosen.size > 0 ? chosen.has(each.name) : !values.quick || each.quick === true;
  const duration = values.check ? CHECK : values.quick ? QUICK : FULL;
  const wanted = values.check ? ["ingress", "bare"] : values.contender;
  return {
    rounds: parseCount(values.rounds, "--rounds") ?? duration.rounds,
    seconds: parseCount(values.seconds, "--seconds") ?? duration.seconds,
    warmUpSeconds: duration.warmUpSeconds,
    cases: CASES.filter(isChosen),
    contenders: new Set(
      CONTENDERS.filter((name) =>
        wanted.length === 0 ? name !== "go" || GO_BINARY !== undefined : wanted.includes(name),
      ),
    ),
    json: values.json,
    checksFloor: values.check,
  };
}

class UsageError extends Error {}

function parseCount(text: string | undefined, flag: string): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new UsageError(`${flag} is not a number from 1: ${text}`);
  return Number(text);
}

async function bench(options: BenchOptions): Promise<number> {
  const missing = missingPrograms();
  for (const [name, how] of missing) console.log(`${name} is missing, so its numbers are missing; get it with: ${how}`);
  const available = new Set([...options.contenders].filter((name) => !missing.has(name)));
  const machine = describeMachine(BINARY);
  console.log(`${formatMachine(machine)}\n`);
  const results: CaseResult[] = [];
  const failures: string[] = [];
  const stage = await startStage();
  try {
    for (const benchCase of options.cases) {
      if (benchCase.needs !== undefined && missing.has(benchCase.needs)) {
        console.log(`${benchCase.name}: needs ${benchCase.needs}\n`);
        continue;
      }
      const onRound: RoundOptions["onRound"] = (...round) => process.stderr.write(`${formatRound(...round)}\n`);
      try {
        const result = await runCase(benchCase, stage, { ...options, available, onRound });
        results.push(result);
        console.log(formatCase(result));
      } catch (error) {
        failures.push(benchCase.name);
        console.log(`${benchCase.name}: FAILED: ${error instanceof Error ? error.message : String(error)}\n`);
      }
    }
  } finally {
    await stage.stop();
  }
  const targets = checkTargets(results);
  if (targets.length > 0 && !options.checksFloor) console.log(formatTargets(targets));
  mkdirSync(dirname(options.json), { recursive: true });
  await Bun.write(options.json, `${JSON.stringify({ machine, results, targets, failures }, null, 2)}\n`);
  console.log(`written to ${options.json}`);
  if (failures.length > 0) return 1;
  return options.checksFloor ? checkFloor(results) : 0;
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
  const isUsage = error instanceof UsageError || (error instanceof TypeError && "code" in error);
  if (!isUsage) throw error;
  console.error(`bench: ${error.message} (see --help)`);
  process.exitCode = 2;
}
