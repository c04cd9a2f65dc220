import type { SandboxRecord } from "../../sandbox/provider.ts";

/**
 * Sandboxes that are remembered: as many as a large cluster has. Each takes some 160 bytes, and one that is gone is forgotten;
 * when it is full, the one whose connections were made first is.
 */
export const TALLIES_MAX = 100_000;

/** What one sandbox has had of requests since the ingress began to know its uid. Requests that never reached it are not in it. */
export class Tally {
  /** Requests and WebSockets that ended. */
  requests = 0;
  /** Those among them that failed, or were answered with a status from 500 on. */
  errors = 0;
  /** Monotonic milliseconds when the last one ended; undefined: none has. */
  lastEndedAt: number | undefined;

  /** Counts one that has ended. Called for each request, so it only changes numbers. */
  note(nowMs: number, failures: 0 | 1): void {
    this.requests += 1;
    this.errors += failures;
    this.lastEndedAt = nowMs;
  }
}

/** The tallies of all sandboxes, by uid: they outlive the connections. */
export class Tallies {
  readonly #max: number;
  readonly #tallies = new Map<string, Tally>();

  constructor(max = TALLIES_MAX) {
    this.#max = max;
  }

  get size(): number {
    return this.#tallies.size;
  }

  find(uid: string): Tally | undefined {
    return this.#tallies.get(uid);
  }

  /** The tally of a sandbox to which connections are about to be made; a new one where there is none. */
  take(uid: string): Tally {
    const tally = this.#tallies.get(uid) ?? new Tally();
    this.#tallies.delete(uid);
    if (this.#tallies.size >= this.#max) {
      for (const oldest of this.#tallies.keys()) {
        this.#tallies.delete(oldest);
        break;
      }
    }
    this.#tallies.set(uid, tally);
    return tally;
  }

  /** The sandbox is gone. */
  forget({ uid }: SandboxRecord): void {
    this.#tallies.delete(uid);
  }
}
