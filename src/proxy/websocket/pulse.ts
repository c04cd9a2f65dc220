/** Pings in a row that a peer may leave unanswered. */
const UNANSWERED_MAX = 2;

/** What to do about a peer: nothing, send a ping, or give it up. */
export type PulseVerdict = "alive" | "ask" | "dead";

/** Tells whether one end of a tunnel is still there. It needs three fields and no timer. */
export class Pulse {
  #heard = false;
  #asked = 0;
  /** Monotonic ms of the last sign of life or the last ping. */
  #since: number;

  constructor(nowMs: number) {
    this.#since = nowMs;
  }

  /** The peer has shown that it is there, or could not because it is not read. */
  beat(): void {
    this.#heard = true;
  }

  /**
   * Checks the peer. Returns `ask` after a silence of `intervalMs`, and `dead` after two pings with the same silence
   * after each.
   */
  check(nowMs: number, intervalMs: number): PulseVerdict {
    if (this.#heard) {
      this.#heard = false;
      this.#asked = 0;
      this.#since = nowMs;
      return "alive";
    }
    // The time counts from the last ping, not from the beginning of the silence. A program that was itself stopped must
    // ask before it judges.
    if (nowMs - this.#since < intervalMs) return "alive";
    if (this.#asked >= UNANSWERED_MAX) return "dead";
    this.#asked++;
    this.#since = nowMs;
    return "ask";
  }
}
