import type { Status } from "../status.ts";
import { formatCount, formatDelay, formatSpan } from "./format.ts";

/** Above this share a resource is scarce. */
const SCARCE_SHARE = 0.85;
/** An event loop that is later than this delays every request; in milliseconds. */
const LATE_LOOP_MS = 250;
/**
 * The table reaches this age in quiet namespaces if the API server sends no bookmarks (docs/operations.md); in
 * milliseconds.
 */
const OLD_TABLE_MS = 11 * 60_000;

/** The problems that an operator should look at now, one sentence each, without numbers that change every second. */
export function listProblems(status: Status): readonly string[] {
  const { phase, checks, memory, descriptors, sandboxes, redis, eventLoop, access } = status;
  const problems: string[] = [];
  if (phase === "draining")
    problems.push("The ingress is draining: it takes no new connections once the delay is over.");
  for (const { name, ok, detail } of checks) {
    if (!ok && !(name === "serving" && phase === "draining"))
      problems.push(`Not ready: ${name}, ${endSentence(detail)}`);
  }
  // Before the first list a failed check tells the fault.
  if (sandboxes.synced === true && sandboxes.fault !== undefined) {
    problems.push(`The watch of the sandboxes is broken, so changes are not seen: ${endSentence(sandboxes.fault)}`);
  } else if (sandboxes.ageMs !== undefined && sandboxes.ageMs > OLD_TABLE_MS) {
    problems.push(`The table of sandboxes is older than ${formatSpan(OLD_TABLE_MS)}: does its source answer?`);
  }
  if (isScarce(memory.heldBytes, memory.budgetBytes)) problems.push("The memory account is nearly full.");
  if (isScarce(descriptors?.open, descriptors?.limit)) problems.push("File descriptors are nearly used up.");
  if ((eventLoop.p99Ms ?? 0) > LATE_LOOP_MS) {
    problems.push(`The event loop is late by more than ${formatDelay(LATE_LOOP_MS)}: the processor is overloaded.`);
  }
  if (redis?.healthy === false && redis.queued > 0) problems.push("Redis does not take renew intents.");
  if (access !== undefined && access.exhaustedSandboxes > 0) {
    problems.push(
      `Somebody may be guessing signatures: sandboxes that answer 429 to new links: ${formatCount(access.exhaustedSandboxes)}.`,
    );
  }
  return problems;
}

/** The text may be a whole sentence already. */
function endSentence(text: string): string {
  return /[.!?…]$/.test(text) ? text : `${text}.`;
}

function isScarce(used: number | undefined, limit: number | undefined): boolean {
  return used !== undefined && limit !== undefined && limit > 0 && used / limit > SCARCE_SHARE;
}
