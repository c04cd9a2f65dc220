/** How long `eventually` keeps trying, in milliseconds: long, because machines that run tests are slow and shared. */
const EVENTUALLY_MAX_MS = 20_000;
const POLL_INTERVAL_MS = 5;

/**
 * Calls `probe` until it returns a value other than `false` without throwing, and returns that value: the one way to
 * wait in tests. Throws the last failure if that takes too long.
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
