import type { ContenderName } from "../contender-names.ts";
import type { Running, Setup } from "../contenders.ts";
import type { HttpRequest, LoadResult } from "../http-load.ts";
import { type CaseResult, type Measurement, NO_MEASUREMENT } from "../measurement.ts";
import { readUsage } from "../process-usage.ts";
import type { RawLoad } from "../raw-load.ts";
import { GUARDED_SANDBOX, SANDBOX, type Stage } from "../stage.ts";

/** A case: the load on each contender, and the numbers to report. */
export interface BenchCase extends Pick<CaseResult, "name" | "title" | "unit" | "compared"> {
  readonly contenders: readonly ContenderName[];
  readonly setup?: Setup;
  /** Part of `--quick`. */
  readonly quick?: boolean;
  /** A process can be measured only once. Each round starts a new one. */
  readonly freshEachRound?: boolean;
  /** Starts no contender: `run` measures in processes of its own, and gets only the name. */
  readonly standsAlone?: boolean;
  /** The program that makes the load. */
  readonly needs?: LoadProgram;
  /** Determined once, before the first round, with the first contender. */
  readonly calibrate?: (target: Running, context: RunContext) => Promise<number>;
  readonly run: (target: Running, context: RunContext) => Promise<Measurement>;
}

/** The programs that make load. All are packages of Debian. */
export type LoadProgram = "wrk" | "hey" | "curl" | "h2load";

/** The input of a round. */
export interface RunContext {
  readonly stage: Stage;
  readonly seconds: number;
  /** The result of `calibrate`. */
  readonly calibrated: number;
}

/** Everyone that can take part in an ordinary case. `go` takes part only if its binary is given. */
export const ALL: readonly ContenderName[] = ["ingress", "bare", "nginx", "haproxy", "caddy", "go", "upstream"];
/** Only proxies: without one there is no memory to measure. */
export const HOLDERS: readonly ContenderName[] = ["ingress", "bare", "nginx", "haproxy", "go"];

/** Multiplies processor time so that it is that of a million requests. */
export const PER_MILLION = 1e6;

/** The header that leads to a port of the sandbox. */
export function routeHeader(port: number, sandbox: string = SANDBOX): Record<string, string> {
  return { "OpenSandbox-Ingress-To": `${sandbox}-${port}` };
}

/** A GET of the path from the upstream. `policy` asks for the sandbox that has every annotation. */
export function requestFor(target: Running, stage: Stage, path: string): HttpRequest {
  const sandbox = target.name === "policy" ? GUARDED_SANDBOX : SANDBOX;
  return { url: `${target.origin}${path}`, headers: routeHeader(stage.upstreamPort, sandbox) };
}

/** A load over bare sockets. Default: idle, without end. */
export function rawLoad(
  target: Running,
  stage: Stage,
  what: Pick<RawLoad, "path" | "connections"> & Partial<RawLoad>,
): RawLoad {
  return { port: target.port, route: `${SANDBOX}-${stage.upstreamPort}`, messageBytes: 0, seconds: 0, ...what };
}

/** Runs a load and measures the contender's usage meanwhile. `perCpu` multiplies the processor time of one request. */
export async function measure(target: Running, load: () => Promise<LoadResult>, perCpu: number): Promise<Measurement> {
  const before = readUsage(target.pid);
  const result = await load();
  const after = readUsage(target.pid);
  return {
    ...NO_MEASUREMENT,
    perSecond: result.requests / result.seconds,
    cpu: ((after.cpuSeconds - before.cpuSeconds) / result.requests) * perCpu,
    p50Ms: result.p50Ms,
    p99Ms: result.p99Ms,
    residentMb: after.residentBytes / 1e6,
  };
}
