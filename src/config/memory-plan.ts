import type { MemoryLimit } from "../host/memory-limit.ts";
import type { Config } from "./config.ts";
import { formatSize } from "./values.ts";

const MIB = 1024 * 1024;

/** Resident memory of the program that has nothing to do, in bytes: measured 52 to 64 MiB. */
const IDLE_BYTES = 64 * MIB;
/** Memory of one known sandbox in the table, in bytes: measured over 100,000. */
const TABLE_SANDBOX_BYTES = 350;
/** Sandboxes that the table is planned for: what `deploy/` promises. */
const TABLE_SANDBOXES = 100_000;
/** What the program needs for itself before it holds anything for a request, in bytes. */
export const PROGRAM_BASE_BYTES = IDLE_BYTES + TABLE_SANDBOX_BYTES * TABLE_SANDBOXES;

/**
 * Part of a container's limit, less the base, that may be held for requests. The other half is for what no account sees:
 * the kernel's socket buffers, which it charges to the container; what JavaScriptCore lets become garbage before it
 * collects; memory that the allocator keeps for the next request; the copy of a list of sandboxes while it is read.
 */
const CONTAINER_SHARE = 1 / 2;
/** The same where no limit is set: the machine's memory is everybody's. Other runtimes take a quarter, too. */
const MACHINE_SHARE = 1 / 4;

/**
 * The least derived budget, in bytes: some ten slow readers at about 2 MiB each, or a hundred small bodies. A container
 * too small for it is too small for the program.
 */
export const BUDGET_MIN_BYTES = 32 * MIB;

/** The longest WebSocket message where memory allows it, in bytes: the default since the first version. */
const MESSAGE_MAX_BYTES = 64 * MIB;
/** Part of the memory limit that one WebSocket message may take: several unfinished ones at a time must not fill it. */
const MESSAGE_SHARE = 1 / 16;
/** A message can wait whole on both sides of its tunnel. */
const MESSAGE_COPIES = 2;

/** How the memory is divided. */
export interface MemoryPlan {
  /** What the proxy may hold for all requests together, in bytes. Above zero. */
  readonly budgetBytes: number;
  /** The longest WebSocket message, in bytes. */
  readonly websocketMaxMessageBytes: number;
  /** Things to say once at start. */
  readonly warnings: readonly string[];
}

/** Divides the memory: the flags where they are given, else shares of the limit. Pure. */
export function resolveMemoryPlan(
  config: Pick<Config, "memoryBudgetBytes" | "websocketMaxMessageBytes">,
  limit: MemoryLimit,
): MemoryPlan {
  const budgetBytes = config.memoryBudgetBytes ?? deriveBudget(limit);
  const websocketMaxMessageBytes =
    config.websocketMaxMessageBytes ?? Math.min(MESSAGE_MAX_BYTES, Math.floor(limit.bytes * MESSAGE_SHARE));
  const warnings: string[] = [];
  if (PROGRAM_BASE_BYTES + budgetBytes > limit.bytes) {
    warnings.push(
      `--memory-budget: ${formatMib(budgetBytes)} and ${formatMib(PROGRAM_BASE_BYTES)} for the program are more than ` +
        `the ${formatMib(limit.bytes)} of the ${limit.source}`,
    );
  }
  if (MESSAGE_COPIES * websocketMaxMessageBytes > budgetBytes) {
    warnings.push(
      `--websocket-max-message: ${formatSize(websocketMaxMessageBytes)} is more than half of the memory budget of ` +
        `${formatMib(budgetBytes)}, so a slow reader may lose its WebSocket before`,
    );
  }
  return { budgetBytes, websocketMaxMessageBytes, warnings };
}

function deriveBudget(limit: MemoryLimit): number {
  const share = limit.source === "container" ? CONTAINER_SHARE : MACHINE_SHARE;
  return Math.max(BUDGET_MIN_BYTES, Math.floor((limit.bytes - PROGRAM_BASE_BYTES) * share));
}

/** For messages: limits are seldom whole in any unit. */
function formatMib(bytes: number): string {
  return `${Math.ceil(bytes / MIB)}MiB`;
}
