/** Pings in a row that a peer may leave unanswered. */
const UNANSWERED_MAX = 2;

/** What to do about a silent peer: nothing, ask whether it is there, or give it up. */
export type PulseVerdict = "alive" | "ask" | "dead";

/** Tells whether one end of a tunnel is still there. It costs two fields and no timer. */
export class Pulse {
  #heard = false;
  #asked = 0;
  /** Monotonic ms of the last sign of life, or of the last question. */
  #since: number;

  constructor(nowMs: number) {
    this.#since = nowMs;
  }

  /** The peer has shown that it is there; or it could not, since it is not read. */
  beat(): void {
    this.#heard = true;
  }

  /** Looks at the peer. `ask` follows a silence of `intervalMs`, `dead` two questions and as long a silence after each. */
  check(nowMs: number, intervalMs: number): PulseVerdict {
    if (this.#heard) {
      this.#heard = false;
      this.#asked = 0;
      this.#since = nowMs;
      return "alive";
    }
    // From the last question, not from the silence's beginning: a program that was stopped itself must ask before it judges.
    if (nowMs - this.#since < intervalMs) return "alive";
    if (this.#asked >= UNANSWERED_MAX) return "dead";
    this.#asked++;
    this.#since = nowMs;
    return "ask";
  }
}
