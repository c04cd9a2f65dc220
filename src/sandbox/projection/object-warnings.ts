import type { Clock } from "../../clock.ts";
import type { Logger } from "../../log/logger.ts";
import { createLimitedWarnings } from "../limited-warnings.ts";

/** Objects whose last warning is remembered, so that it is not repeated at each change. */
const REMEMBERED_MAX = 1000;

/** Logs what is wrong with an object: once for each object and reason, and at a limited rate in all. */
export interface ObjectWarnings {
  /** @param object Its namespace and name. @param warning Undefined if nothing is wrong (any more). */
  report(object: string, warning: string | undefined): void;
}

export function createObjectWarnings(logger: Logger, clock: Clock): ObjectWarnings {
  const remembered = new Map<string, string>();
  const warn = createLimitedWarnings(
    logger,
    clock,
    (unsaid) => `Kubernetes: ${unsaid} more warnings about objects were left out`,
  );
  return {
    report(object, warning) {
      if (warning === undefined) {
        if (remembered.size > 0) remembered.delete(object);
        return;
      }
      if (remembered.get(object) === warning) return;
      const oldest = remembered.size >= REMEMBERED_MAX ? remembered.keys().next().value : undefined;
      if (oldest !== undefined) remembered.delete(oldest);
      remembered.set(object, warning);
      warn(`Kubernetes: ${object}: ${warning}`);
    },
  };
}
