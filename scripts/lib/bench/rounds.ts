import type { BenchCase, RunContext } from "./cases/bench-case.ts";
import type { ContenderName } from "./contender-names.ts";
import { type Running, startContender } from "./contenders.ts";
import { type CaseResult, type Measurement, summarize } from "./measurement.ts";
import type { Stage } from "./stage.ts";

/** How long and how often to measure. */
export interface RoundOptions {
  readonly rounds: number;
  /** Seconds of load in each round of each contender. */
  readonly seconds: number;
  /** Seconds before the first round: just-in-time compilers must see the code. */
  readonly warmUpSeconds: number;
  /** The contenders that can run on this machine. */
  readonly available: ReadonlySet<ContenderName>;
  /** Called after each round. */
  readonly onRound: (name: ContenderName, round: number, measured: Measurement) => void;
}

/**
 * Measures a case in rounds A, B, C, A, B, C …: what the machine does meanwhile meets all of them, so that their
 * ratios can be trusted where the numbers cannot.
 */
export async function runCase(benchCase: BenchCase, stage: Stage, options: RoundOptions): Promise<CaseResult> {
  const names = benchCase.contenders.filter((name) => options.available.has(name));
  const rounds = new Map<ContenderName, Measurement[]>(names.map((name) => [name, []]));
  const record = (name: ContenderName, measured: Measurement): void => {
    const own = rounds.get(name);
    own?.push(measured);
    options.onRound(name, own?.length ?? 0, measured);
  };
  if (benchCase.freshEachRound === true) {
    for (let round = 0; round < options.rounds; round++) {
      for (const name of names) record(name, await runFresh(name, benchCase, { stage, options }));
    }
  } else {
    await runTogether(names, benchCase, { stage, options, record });
  }
  const { name, title, unit, compared } = benchCase;
  return { name, title, unit, compared, contenders: [...rounds].map(([each, own]) => summarize(each, own)) };
}

async function startFor(benchCase: BenchCase, name: ContenderName, stage: Stage): Promise<Running> {
  if (benchCase.standsAlone !== true) return startContender(name, benchCase.setup ?? {}, stage);
  return { name, pid: process.pid, port: 0, origin: "", startMs: 0, stop: async () => {} };
}

async function runFresh(
  name: ContenderName,
  benchCase: BenchCase,
  { stage, options }: { readonly stage: Stage; readonly options: RoundOptions },
): Promise<Measurement> {
  const running = await startFor(benchCase, name, stage);
  try {
    return await benchCase.run(running, { stage, seconds: options.seconds, calibrated: Number.NaN });
  } finally {
    await running.stop();
  }
}

async function runTogether(
  names: readonly ContenderName[],
  benchCase: BenchCase,
  parts: {
    readonly stage: Stage;
    readonly options: RoundOptions;
    readonly record: (name: ContenderName, measured: Measurement) => void;
  },
): Promise<void> {
  const { stage, options, record } = parts;
  const running: Running[] = [];
  try {
    for (const name of names) running.push(await startFor(benchCase, name, stage));
    let context: RunContext = { stage, seconds: options.warmUpSeconds, calibrated: Number.NaN };
    const [first] = running;
    if (benchCase.calibrate !== undefined && first !== undefined) {
      context = { ...context, calibrated: await benchCase.calibrate(first, { ...context, seconds: options.seconds }) };
    }
    if (benchCase.standsAlone !== true) for (const each of running) await benchCase.run(each, context);
    context = { ...context, seconds: options.seconds };
    for (let round = 0; round < options.rounds; round++) {
      for (const each of running) record(each.name, await benchCase.run(each, context));
    }
  } finally {
    for (const each of running) await each.stop();
  }
}
