import type { Clock } from "../clock.ts";
import type { Logger } from "../log/logger.ts";
import { createLimitedWarnings } from "./limited-warnings.ts";
import type { SandboxRecord } from "./provider.ts";

/** Pairs that are remembered, so that a pair is not logged and counted again at each request for it. */
const REMEMBERED_MAX = 1000;

/** Finds sandboxes of different namespaces that share an id. Each makes the other unreachable. */
export interface Namesakes {
  /** Logs a pair and counts it, once while it is remembered. */
  note(one: SandboxRecord, other: SandboxRecord): void;
  /** Pairs found since the start. */
  count(): number;
}

export function createNamesakes(logger: Logger, clock: Clock): Namesakes {
  const remembered = new Set<string>();
  const warn = createLimitedWarnings(
    logger,
    clock,
    (unsaid) => `${unsaid} more pairs of sandboxes share an id and were left out of the log`,
  );
  let count = 0;
  return {
    note(one, other) {
      // By uid: an object that is created again is a new one.
      const pair = [one.uid, other.uid].toSorted().join(" ");
      if (remembered.has(pair)) return;
      const [oldest] = remembered.size >= REMEMBERED_MAX ? remembered : [];
      if (oldest !== undefined) remembered.delete(oldest);
      remembered.add(pair);
      count += 1;
      warn(
        `sandboxes ${one.namespace}/${one.name} and ${other.namespace}/${other.name} share an id: ` +
          "requests for it are refused as ambiguous (502) until one of them is deleted",
      );
    },
    count: () => count,
  };
}
