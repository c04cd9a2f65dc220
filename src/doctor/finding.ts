import type { Clock } from "../clock.ts";
import { codeOf } from "../values.ts";

/**
 * - `ok`: as it should be
 * - `warn`: it works, but worse than it could, or it cannot be told
 * - `fail`: the ingress would not start, not serve, or not be safe
 * - `skip`: it does not apply, or depends on something that failed
 */
export type FindingState = "ok" | "warn" | "fail" | "skip";

/** What one check found. Contains no secret. */
export interface Finding {
  /** What was checked, in a few words: `port`, `permission list (default)`. */
  readonly name: string;
  readonly state: FindingState;
  readonly detail: string;
  /** What to do; undefined if there is nothing to do. */
  readonly remedy?: string | undefined;
}

/** How long one check may take, in milliseconds. A healthy system answers each within a second, an exec plugin within a few. */
export const CHECK_MAX_MS = 10_000;

/**
 * Runs one check within `CHECK_MAX_MS`. Never rejects: a check that throws or takes too long is a finding. What it throws
 * is not shown, because a message may contain anything.
 *
 * @param work Its signal aborts when the time is over.
 */
export async function runCheck(
  name: string,
  clock: Clock,
  work: (signal: AbortSignal) => Promise<Finding>,
): Promise<Finding> {
  const controller = new AbortController();
  const late = Promise.withResolvers<Finding>();
  const timer = clock.setTimer(CHECK_MAX_MS, () => {
    late.resolve({ name, state: "fail", detail: `no result within ${CHECK_MAX_MS / 1000} s` });
    controller.abort();
  });
  const run = async (): Promise<Finding> => {
    try {
      return await work(controller.signal);
    } catch (thrown) {
      const what = codeOf(thrown) || (thrown instanceof Error ? thrown.name : "unknown fault");
      return { name, state: "fail", detail: `the check itself failed (${what})` };
    }
  };
  try {
    return await Promise.race([run(), late.promise]);
  } finally {
    timer.cancel();
  }
}
