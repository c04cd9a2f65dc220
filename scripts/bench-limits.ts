// bench-limits.ts: what the ingress does under a container's limits of processor time, for `./scripts/bench limits`.
import { parseArgs } from "node:util";
import { PER_MILLION, rawLoad, requestFor } from "./lib/bench/cases/bench-case.ts";
import { readNumbers, startHelper } from "./lib/bench/child-process.ts";
import { BINARY, type Running, startContender } from "./lib/bench/contenders.ts";
import { CpuLimitError, createCpuLimit, type CpuLimit } from "./lib/bench/cpu-limit.ts";
import { formatNumber } from "./lib/bench/format-performance.ts";
import { runHey, runWrk } from "./lib/bench/http-load.ts";
import { LIMIT_NUMBERS, type LimitResult, type LimitsResult } from "./lib/bench/limits-results.ts";
import { describeMachine } from "./lib/bench/machine.ts";
import { PERFORMANCE_DOCUMENT, writePerformance } from "./lib/bench/performance-file.ts";
import { readUsage } from "./lib/bench/process-usage.ts";
import { type Stage, startStage } from "./lib/bench/stage.ts";
import { median } from "./lib/bench/statistics.ts";
import { formatTable } from "./lib/bench/tables.ts";

/** As Kubernetes writes them; undefined cores: no limit. */
const LIMITS = [
  { title: "500m", cores: 0.5 },
  { title: "1", cores: 1 },
  { title: "2", cores: 2 },
  { title: "none", cores: undefined },
] as const;
const FULL = { rounds: 5, seconds: 3 };
/** Before each load of a fresh process: just-in-time compilers must see the code. Seconds. */
const WARM_UP_SECONDS = 2;
const CONNECTIONS = 64;
/**
 * Less than half of what half a core serves, so that a delay comes from bursts and from waiting for the next period.
 */
const RATE_PER_SECOND = 4_000;
const MESSAGE_BYTES = 64;
const OPEN_MAX_MS = 60_000;

type Round = Omit<LimitResult, "title">;

async function measureRound(cpu: CpuLimit, stage: Stage, seconds: number): Promise<Round> {
  const running = await startContender("ingress", { cgroupProcsFile: cpu.procsFile }, stage);
  try {
    const request = requestFor(running, stage, "/1k");
    await runWrk(request, { connections: CONNECTIONS, seconds: WARM_UP_SECONDS }, stage.folder);
    const most = await runWrk(request, { connections: CONNECTIONS, seconds }, stage.folder);
    const before = cpu.readUsage();
    const steady = await runHey(request, { connections: CONNECTIONS, seconds }, { perSecond: RATE_PER_SECOND });
    const after = cpu.readUsage();
    const messagesPerSecond = await echo(running, stage, seconds);
    const periods = after.periods - before.periods;
    return {
      requestsPerSecond: most.requests / most.seconds,
      p99Ms: steady.p99Ms,
      messagesPerSecond,
      startMs: running.startMs,
      residentMb: readUsage(running.pid).residentBytes / PER_MILLION,
      throttledPart: periods === 0 ? 0 : (after.throttledPeriods - before.throttledPeriods) / periods,
    };
  } finally {
    await running.stop();
  }
}

async function echo(running: Running, stage: Stage, seconds: number): Promise<number> {
  const load = { path: "/websocket", connections: CONNECTIONS, messageBytes: MESSAGE_BYTES, seconds };
  const helper = startHelper("websocket-load.ts", [JSON.stringify(rawLoad(running, stage, load))]);
  try {
    await helper.next(OPEN_MAX_MS);
    const { requests, seconds: took } = readNumbers(await helper.next(), ["requests", "seconds"]);
    return requests / took;
  } finally {
    await helper.stop();
  }
}

function summarize(title: string, rounds: readonly Round[]): LimitResult {
  const of = (name: keyof Round): number => Number(median(rounds.map((round) => round[name])).toPrecision(4));
  return {
    title,
    requestsPerSecond: of("requestsPerSecond"),
    p99Ms: of("p99Ms"),
    messagesPerSecond: of("messagesPerSecond"),
    startMs: of("startMs"),
    residentMb: of("residentMb"),
    throttledPart: of("throttledPart"),
  };
}

async function benchLimits(duration: { readonly rounds: number; readonly seconds: number }): Promise<void> {
  const { rounds, seconds } = duration;
  const machine = describeMachine(BINARY);
  createCpuLimit("probe", 1)[Symbol.dispose]();
  const stage = await startStage();
  const measured = new Map<string, Round[]>(LIMITS.map(({ title }) => [title, []]));
  try {
    // In turn, so that what the machine does meanwhile meets all of them.
    for (let round = 0; round < rounds; round++) {
      for (const { title, cores } of LIMITS) {
        using cpu = createCpuLimit(title, cores);
        const result = await measureRound(cpu, stage, seconds);
        measured.get(title)?.push(result);
        process.stderr.write(`  ${title} ${round + 1}: ${formatNumber(result.requestsPerSecond)}/s\n`);
      }
    }
  } finally {
    await stage.stop();
  }
  const limits = [...measured].map(([title, own]) => summarize(title, own));
  const results: LimitsResult = { machine, rounds, seconds, ratePerSecond: RATE_PER_SECOND, limits };
  const rows = limits.map((limit) => [limit.title, ...LIMIT_NUMBERS.map((name) => formatNumber(limit[name]))]);
  console.log(formatTable([["", ...LIMIT_NUMBERS], ...rows]));
  if (rounds < FULL.rounds || seconds < FULL.seconds) {
    console.log(`${PERFORMANCE_DOCUMENT} stays as it is, because this is no full run`);
    return;
  }
  writePerformance({ limits: results });
  console.log(`written to ${PERFORMANCE_DOCUMENT}`);
}

const { values } = parseArgs({ options: { rounds: { type: "string" }, seconds: { type: "string" } } });
const rounds = Number(values.rounds ?? FULL.rounds);
const seconds = Number(values.seconds ?? FULL.seconds);
if (!(Number.isInteger(rounds) && rounds > 0 && Number.isInteger(seconds) && seconds > 0)) {
  console.error("bench: --rounds and --seconds are whole numbers from 1 (see --help)");
  process.exit(2);
}
try {
  await benchLimits({ rounds, seconds });
} catch (error) {
  if (!(error instanceof CpuLimitError)) throw error;
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
}
