import { availableParallelism } from "node:os";
import type { BenchCase } from "./cases/bench-case.ts";
import type { Running } from "./contenders.ts";
import { pin, type Processors, readMachineTime } from "./processors.ts";
import { readThreadUsage, withDescendants } from "./process-usage.ts";
import type { Stage } from "./stage.ts";

/** Which processors the load, with the upstream, and the ingress processes may use. */
export interface Arrangement {
  readonly name: string;
  readonly title: string;
  readonly load: Processors;
  readonly one: Processors;
  /** For both processes. */
  readonly two: Processors;
}

const ALL = `0-${availableParallelism() - 1}`;

export const ARRANGEMENTS: readonly Arrangement[] = [
  { name: "free", title: "no process is pinned", load: ALL, one: ALL, two: ALL },
  { name: "apart", title: "load on core 1, one process on core 0, two on both", load: "1", one: "0", two: "0,1" },
  { name: "same", title: "load on core 1, one process and two on core 0", load: "1", one: "0", two: "0" },
];

/** One round of one or two processes. */
export interface Sample {
  readonly perSecond: number;
  /** CPU microseconds of all ingress processes for each request or message. */
  readonly cpu: number;
  /** Parts of `cpu`: the threads that run JavaScript, and those of `fetch`. */
  readonly mainCpu: number;
  readonly httpCpu: number;
  readonly p99Ms: number;
  /** Part of the machine's processor time that nobody used. */
  readonly idle: number;
}

export interface Comparison {
  readonly case: BenchCase;
  readonly arrangement: Arrangement;
  readonly one: readonly Sample[];
  readonly two: readonly Sample[];
}

export interface CompareOptions {
  readonly stage: Stage;
  readonly rounds: number;
  readonly seconds: number;
}

/** The measured groups: one ingress process, and two on a port. */
export interface Groups {
  readonly one: Running;
  readonly two: Running;
}

/** Measures a case in rounds one, two, one, two … The first round of each only warms up. */
export async function compareGroups(
  benchCase: BenchCase,
  arrangement: Arrangement,
  { groups, stage, rounds, seconds }: CompareOptions & { readonly groups: Groups },
): Promise<Comparison> {
  // Load generators are children of this process, and inherit its processors.
  pin(process.pid, arrangement.load);
  pin(stage.upstreamPid, arrangement.load);
  for (const pid of withDescendants(groups.one.pid)) pin(pid, arrangement.one);
  for (const pid of withDescendants(groups.two.pid)) pin(pid, arrangement.two);
  const one: Sample[] = [];
  const two: Sample[] = [];
  for (let round = 0; round <= rounds; round++) {
    const samples = [
      await takeSample(groups.one, benchCase, { stage, seconds }),
      await takeSample(groups.two, benchCase, { stage, seconds }),
    ] as const;
    if (round === 0) continue;
    one.push(samples[0]);
    two.push(samples[1]);
  }
  return { case: benchCase, arrangement, one, two };
}

async function takeSample(
  group: Running,
  benchCase: BenchCase,
  { stage, seconds }: Pick<CompareOptions, "stage" | "seconds">,
): Promise<Sample> {
  const machineBefore = readMachineTime();
  const before = readThreadUsage(group.pid);
  const { perSecond, cpu, p99Ms } = await benchCase.run(group, { stage, seconds, calibrated: Number.NaN });
  const after = readThreadUsage(group.pid);
  const machineAfter = readMachineTime();
  const [main, http, other] = [after.main - before.main, after.http - before.http, after.other - before.other];
  const all = main + http + other;
  return {
    perSecond,
    cpu,
    mainCpu: (cpu * main) / all,
    httpCpu: (cpu * http) / all,
    p99Ms,
    idle: (machineAfter.idle - machineBefore.idle) / (machineAfter.total - machineBefore.total),
  };
}
