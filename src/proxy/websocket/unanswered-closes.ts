/**
 * How many connections to sandboxes may wait for the answer to a Close after their tunnels have ended. Each holds a
 * descriptor for up to `CLOSE_TIMEOUT_MS`, and no limit of requests counts it any more.
 */
export const UNANSWERED_CLOSES_MAX = 256;

/** A connection to a sandbox that has been sent a Close. */
export interface ClosingConnection {
  /** Ends it at once. */
  terminate(): void;
}

/**
 * Connections that wait for the answer to a Close although their tunnels have ended. Their number is limited, so that
 * descriptors do not run out.
 */
export class UnansweredCloses {
  readonly #waiting = new Set<ClosingConnection>();

  /** How many connections wait. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Adds a connection. If there are too many, ends the one that has waited longest. */
  add(connection: ClosingConnection): void {
    this.#waiting.add(connection);
    if (this.#waiting.size <= UNANSWERED_CLOSES_MAX) return;
    for (const oldest of this.#waiting) {
      this.#waiting.delete(oldest);
      return oldest.terminate();
    }
  }

  /** Forgets a connection that has ended. */
  delete(connection: ClosingConnection): void {
    this.#waiting.delete(connection);
  }

  /** Ends all at once. */
  terminateAll(): void {
    for (const connection of this.#waiting) connection.terminate();
    this.#waiting.clear();
  }
}
