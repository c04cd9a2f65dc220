/**
 * Sandboxes that are waited for at a time, after their tunnels have ended, until they answer a Close. Each holds a descriptor for
 * up to `CLOSE_TIMEOUT_MS`, and no limit of requests counts it any more.
 */
export const UNANSWERED_CLOSES_MAX = 256;

/** A connection to a sandbox that has been sent a Close. */
export interface ClosingConnection {
  /** Ends it at once. */
  terminate(): void;
}

/** The connections that wait for the answer to a Close though their tunnels have ended: few, so that descriptors do not run out. */
export class UnansweredCloses {
  readonly #waiting = new Set<ClosingConnection>();

  /** Connections that are waited for. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Waits for one more. Where that are too many, the one that has had the most time ends. */
  add(connection: ClosingConnection): void {
    this.#waiting.add(connection);
    if (this.#waiting.size <= UNANSWERED_CLOSES_MAX) return;
    for (const oldest of this.#waiting) {
      this.#waiting.delete(oldest);
      return oldest.terminate();
    }
  }

  /** It has ended. */
  delete(connection: ClosingConnection): void {
    this.#waiting.delete(connection);
  }

  /** Ends all at once. */
  terminateAll(): void {
    for (const connection of this.#waiting) connection.terminate();
    this.#waiting.clear();
  }
}
