import { isObject } from "../../../src/values.ts";
import { type Machine, parseMachine } from "./machine.ts";

/** What the ingress does under one limit of processor time. Medians of the rounds. */
export interface LimitResult {
  /** As in a container's limits: `500m`, `1`, `2`, or `none`. */
  readonly title: string;
  /** GET 1 KB over 64 connections. */
  readonly requestsPerSecond: number;
  /** GET 1 KB at the fixed rate of `LimitsResult`. */
  readonly p99Ms: number;
  /** WebSocket echo of 64 B over 64 connections. */
  readonly messagesPerSecond: number;
  /** From the start to the first forwarded answer. */
  readonly startMs: number;
  /** Resident, after the loads. */
  readonly residentMb: number;
  /** The part of the kernel's periods (100 ms) in which it had to wait, at the fixed rate. 0 to 1. */
  readonly throttledPart: number;
}

export const LIMIT_NUMBERS = [
  "requestsPerSecond",
  "p99Ms",
  "messagesPerSecond",
  "startMs",
  "residentMb",
  "throttledPart",
] as const;

/** The result of `./scripts/bench limits`. */
export interface LimitsResult {
  readonly machine: Machine;
  readonly rounds: number;
  /** Of each load in each round. */
  readonly seconds: number;
  readonly ratePerSecond: number;
  readonly limits: readonly LimitResult[];
}

/** Reads what was written as JSON. Throws an Error if it is something else. */
export function parseLimitsResult(value: unknown): LimitsResult {
  if (!isObject(value) || !Array.isArray(value["limits"])) throw new Error("no results of ./scripts/bench limits");
  return {
    machine: parseMachine(value["machine"]),
    rounds: Number(value["rounds"]),
    seconds: Number(value["seconds"]),
    ratePerSecond: Number(value["ratePerSecond"]),
    limits: value["limits"].filter(isObject).map((limit) => ({
      title: String(limit["title"]),
      requestsPerSecond: Number(limit["requestsPerSecond"]),
      p99Ms: Number(limit["p99Ms"]),
      messagesPerSecond: Number(limit["messagesPerSecond"]),
      startMs: Number(limit["startMs"]),
      residentMb: Number(limit["residentMb"]),
      throttledPart: Number(limit["throttledPart"]),
    })),
  };
}
