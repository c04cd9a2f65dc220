import type { Logger } from "../log/logger.ts";
import { listPlaces, nameFault } from "../process/fault.ts";

/**
 * Maximum number of faults that are logged. During the drain one cause can repeat thousands of times. All are counted.
 */
const FAULTS_LOGGED_MAX = 20;

/** Maximum number of places of a stack that are logged. */
const FAULT_PLACES_MAX = 10;

/** Faults that belong to no request. */
export interface FaultLog {
  /** How many there were. */
  count(): number;
  report(what: string, thrown: unknown): void;
}

export function createFaultLog(logger: Pick<Logger, "error">): FaultLog {
  let faults = 0;
  return {
    count: () => faults,
    report(what, thrown) {
      faults += 1;
      if (faults > FAULTS_LOGGED_MAX) return;
      // Not the message: it may contain a client's data.
      logger.error(what, { error: nameFault(thrown), at: listPlaces(thrown, FAULT_PLACES_MAX).join(" ") });
    },
  };
}
