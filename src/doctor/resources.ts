import type { Config } from "../config/config.ts";
import { PROGRAM_BASE_BYTES, resolveMemoryPlan } from "../config/memory-plan.ts";
import type { MemoryLimit } from "../host/memory-limit.ts";
import type { Finding } from "./finding.ts";

const MIB = 1024 * 1024;

/** Each request has at most a connection to its client and one to its sandbox. */
const DESCRIPTORS_PER_REQUEST = 2;
/** Descriptors for all else, in number: listeners, files, the API server, Redis, the log, probes, and a reserve of 64. */
const DESCRIPTORS_BASE = 128;

/** Compares the memory limit with what the flags let the ingress use. */
export function checkMemory(
  config: Pick<Config, "memoryBudgetBytes" | "websocketMaxMessageBytes">,
  limit: MemoryLimit,
): Finding {
  const name = "memory";
  const plan = resolveMemoryPlan(config, limit);
  const [warning] = plan.warnings;
  const detail =
    `${inMib(limit.bytes)} of the ${limit.source}: ${inMib(PROGRAM_BASE_BYTES)} for the program, ` +
    `${inMib(plan.budgetBytes)} for requests`;
  if (PROGRAM_BASE_BYTES + plan.budgetBytes > limit.bytes) {
    return { name, state: "fail", detail, remedy: "raise the memory limit, or lower --memory-budget" };
  }
  if (warning !== undefined) return { name, state: "warn", detail: warning, remedy: "lower --websocket-max-message" };
  return { name, state: "ok", detail };
}

/** Compares the limit of open files with the number of requests that the flags allow. */
export function checkDescriptors(config: Pick<Config, "maxRequests">, limit: number | undefined): Finding {
  const name = "descriptors";
  if (limit === undefined) return { name, state: "skip", detail: "the system tells no limit of open files" };
  const { maxRequests } = config;
  const requests = Math.floor(Math.max(0, limit - DESCRIPTORS_BASE) / DESCRIPTORS_PER_REQUEST);
  const detail = `${limit} open files are enough for ${requests} requests`;
  if (maxRequests === 0) return { name, state: "ok", detail: `${detail}; --max-requests=0 is no limit` };
  if (requests >= maxRequests) return { name, state: "ok", detail: `${detail} (--max-requests=${maxRequests})` };
  const needed = maxRequests * DESCRIPTORS_PER_REQUEST + DESCRIPTORS_BASE;
  return {
    name,
    state: "fail",
    detail: `${detail}, fewer than --max-requests=${maxRequests}`,
    remedy: `raise the limit of open files (ulimit -Hn) to ${needed}, or set --max-requests=${requests}`,
  };
}

function inMib(bytes: number): string {
  return `${Math.floor(bytes / MIB)} MiB`;
}
