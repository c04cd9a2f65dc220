import type { MemoryLimit } from "../host/memory-limit.ts";
import type { Config } from "./config.ts";
import { formatSize } from "./values.ts";

const MIB = 1024 * 1024;

/** Resident memory of the idle program, in bytes: measured 52 to 64 MiB. */
const IDLE_BYTES = 64 * MIB;
/** Memory of one sandbox in the table, in bytes: measured with 100,000. */
const TABLE_SANDBOX_BYTES = 350;
/** Sandboxes in the table that the plan allows for, as `deploy/` promises. */
const TABLE_SANDBOXES = 100_000;
/** Memory that the program needs without any request, in bytes. */
export const PROGRAM_BASE_BYTES = IDLE_BYTES + TABLE_SANDBOX_BYTES * TABLE_SANDBOXES;

/**
 * Share of a container's limit, less the base, for requests. The other half is for memory that the account does not
 * see: the kernel's socket buffers, which are charged to the container; garbage before JavaScriptCore collects it;
 * memory that the allocator keeps for the next request; the copy of a list of sandboxes while it is read.
 */
const CONTAINER_SHARE = 1 / 2;
/** The share without a limit: other programs use the machine's memory, too. Other runtimes also take a quarter. */
const MACHINE_SHARE = 1 / 4;

/**
 * The least derived budget, in bytes: about ten slow readers at 2 MiB each, or a hundred small bodies. A container that
 * cannot hold this is too small for the program.
 */
export const BUDGET_MIN_BYTES = 32 * MIB;

/** The longest WebSocket message if memory allows it, in bytes: the default since the first version. */
const MESSAGE_MAX_BYTES = 64 * MIB;
/** Share of the memory limit for one WebSocket message: several unfinished messages must not fill the memory. */
const MESSAGE_SHARE = 1 / 16;
/** A whole message can wait on both sides of its tunnel. */
const MESSAGE_COPIES = 2;

/** How the memory is divided. */
export interface MemoryPlan {
  /** What the proxy may hold for all requests together, in bytes. Above zero. */
  readonly budgetBytes: number;
  /** The longest WebSocket message, in bytes. */
  readonly websocketMaxMessageBytes: number;
  /** Warnings to log once at the start. */
  readonly warnings: readonly string[];
}

/** Divides the memory: by the flags if given, else by shares of the limit. Pure. */
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
      `--memory-budget: ${formatMib(budgetBytes)} and ${formatMib(PROGRAM_BASE_BYTES)} for the program exceed ` +
        `the ${formatMib(limit.bytes)} of the ${limit.source}`,
    );
  }
  if (MESSAGE_COPIES * websocketMaxMessageBytes > budgetBytes) {
    warnings.push(
      `--websocket-max-message: ${formatSize(websocketMaxMessageBytes)} is more than half of the memory budget of ` +
        `${formatMib(budgetBytes)}, so a slow reader may lose its WebSocket earlier`,
    );
  }
  return { budgetBytes, websocketMaxMessageBytes, warnings };
}

function deriveBudget(limit: MemoryLimit): number {
  const share = limit.source === "container" ? CONTAINER_SHARE : MACHINE_SHARE;
  return Math.max(BUDGET_MIN_BYTES, Math.floor((limit.bytes - PROGRAM_BASE_BYTES) * share));
}

/** For messages: limits are rarely whole in any unit. */
function formatMib(bytes: number): string {
  return `${Math.ceil(bytes / MIB)}MiB`;
}
