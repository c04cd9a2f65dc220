/** The first wait after a failure, in milliseconds: soon enough not to be noticed, late enough not to be a flood. */
const BACKOFF_FIRST_MS = 500;
/**
 * The longest wait between two attempts, in milliseconds. client-go goes to 30 s, which would leave the table old for
 * that long after an outage; one small request every 2 s from each replica is nothing to an API server.
 */
export const BACKOFF_MAX_MS = 2000;
/**
 * The longest `Retry-After` that is honoured, in milliseconds. API servers send 1 to a few seconds; a proxy in between that
 * says an hour would freeze the table for an hour.
 */
const RETRY_AFTER_MAX_MS = 30_000;

/** How long to wait before the next attempt: doubling, with jitter, from 0.5 s to 2 s. */
export interface Backoff {
  /** The wait in milliseconds after one more failure; never shorter than a `Retry-After` up to its bound. */
  next(retryAfterMs?: number): number;
  /** The last attempt succeeded. */
  reset(): void;
}

/** @param random A number in [0, 1), like `Math.random`; a seam. */
export function createBackoff(random: () => number): Backoff {
  let failures = 0;
  return {
    next(retryAfterMs = 0) {
      const full = Math.min(BACKOFF_FIRST_MS * 2 ** failures, BACKOFF_MAX_MS);
      failures = Math.min(failures + 1, 16);
      // Half fixed, half random: replicas that failed together come back apart, and none comes back at once.
      const jittered = full / 2 + (full / 2) * random();
      return Math.max(jittered, Math.min(retryAfterMs, RETRY_AFTER_MAX_MS));
    },
    reset() {
      failures = 0;
    },
  };
}
