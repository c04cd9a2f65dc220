/**
 * Who must act next for a streamed body:
 * - `source`: its sender must send the next byte. The receiver has taken everything so far.
 * - `sink`: its receiver must read. The data waits in buffers of Bun and of the kernel.
 * - `through`: its last byte has been handed on.
 */
export type FlowTurn = "source" | "sink" | "through";

/** The state of one streamed body: of a request from client to sandbox, or of an answer from sandbox to client. */
export class BodyFlow {
  /** Monotonic ms since which the body waits for its `turn`. */
  since: number;
  #turn: FlowTurn = "sink";
  #isWhole = false;

  constructor(nowMs: number) {
    this.since = nowMs;
  }

  get turn(): FlowTurn {
    return this.#turn;
  }

  /** Whether its sender has sent the whole body. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** The receiver has asked for more. */
  pull(nowMs: number): void {
    this.#turn = "source";
    this.since = nowMs;
  }

  /** The sender has sent data, and the receiver has got it. */
  push(nowMs: number): void {
    this.#turn = "sink";
    this.since = nowMs;
  }

  /** The sender has sent everything. */
  finish(): void {
    this.#turn = "through";
    this.#isWhole = true;
  }

  /** The receiver takes no more. The sender may go on. */
  abandon(): void {
    this.#turn = "through";
  }
}
