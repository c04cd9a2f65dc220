import type { SandboxRecord } from "../../sandbox/provider.ts";

/**
 * How many sandboxes are remembered: as many as a large cluster has. Each takes about 160 bytes, and deleted sandboxes
 * are forgotten. When it is full, the sandbox that first got connections longest ago is forgotten.
 */
export const TALLIES_MAX = 100_000;

/** The requests of one sandbox since the ingress first saw its uid. Requests that never reached it are not counted. */
export class Tally {
  /** Requests and WebSockets that ended. */
  requests = 0;
  /** How many of them failed or got a status of 500 or more. */
  errors = 0;
  /** Monotonic milliseconds when the last one ended; undefined: none has ended. */
  lastEndedAt: number | undefined;

  /** Counts one that has ended. Called for each request, so it only changes numbers. */
  note(nowMs: number, failures: 0 | 1): void {
    this.requests += 1;
    this.errors += failures;
    this.lastEndedAt = nowMs;
  }
}

/** The tallies of all sandboxes, by uid. They outlive the connections. */
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

  /** The tally of a sandbox that is about to get connections; a new one if it has none. */
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
