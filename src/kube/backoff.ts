/**
 * The first wait after a failure, in milliseconds: short enough to go unnoticed, long enough not to flood the server.
 */
const BACKOFF_FIRST_MS = 500;
/**
 * The longest wait between two attempts, in milliseconds. client-go waits up to 30 s, which would leave the table old
 * for that long after an outage. One small request every 2 s from each replica does not strain an API server.
 */
export const BACKOFF_MAX_MS = 2000;
/**
 * The longest `Retry-After` that is obeyed, in milliseconds. API servers send one to a few seconds. A proxy in between
 * that sends an hour would freeze the table for an hour.
 */
const RETRY_AFTER_MAX_MS = 30_000;

/** The wait before the next attempt: doubles from 0.5 s to 2 s, with jitter. */
export interface Backoff {
  /** The wait in milliseconds after one more failure. At least `retryAfterMs`, up to its bound. */
  next(retryAfterMs?: number): number;
  /** Call it after a successful attempt. */
  reset(): void;
}

/** @param random A number in [0, 1), like `Math.random`. Tests replace it. */
export function createBackoff(random: () => number): Backoff {
  let failures = 0;
  return {
    next(retryAfterMs = 0) {
      const full = Math.min(BACKOFF_FIRST_MS * 2 ** failures, BACKOFF_MAX_MS);
      failures = Math.min(failures + 1, 16);
      // Half fixed, half random: replicas that failed together retry at different times, and none retries at once.
      const jittered = full / 2 + (full / 2) * random();
      return Math.max(jittered, Math.min(retryAfterMs, RETRY_AFTER_MAX_MS));
    },
    reset() {
      failures = 0;
    },
  };
}
