/** How long `eventually` keeps trying, in milliseconds: generous, since machines that run tests are slow and shared. */
const EVENTUALLY_MAX_MS = 20_000;
const POLL_INTERVAL_MS = 5;

/**
 * Calls `probe` until it returns without throwing and not `false`, and gives its value: the one way to wait in tests.
 * Throws the last failure when that takes too long.
 */
export async function eventually<T>(probe: () => T | Promise<T>, options: { maxMs?: number } = {}): Promise<T> {
  const deadline = performance.now() + (options.maxMs ?? EVENTUALLY_MAX_MS);
  for (;;) {
    try {
      const value = await probe();
      if (value !== false) return value;
      if (performance.now() > deadline) throw new Error("eventually: still false at the deadline");
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await Bun.sleep(POLL_INTERVAL_MS);
  }
}
