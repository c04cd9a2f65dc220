/**
 * Whose move a streamed body waits for:
 * - `source`: its sender owes the next byte. The receiver has taken all so far.
 * - `sink`: its receiver owes a read. Buffers of Bun and of the kernel hold what came.
 * - `through`: its last byte has been handed on.
 */
export type FlowTurn = "source" | "sink" | "through";

/** The state of one streamed body: of a request from client to sandbox, or of an answer from sandbox to client. */
export class BodyFlow {
  /** Monotonic ms since which it waits for the one whose turn it is. */
  since: number;
  #turn: FlowTurn = "sink";
  #isWhole = false;

  constructor(nowMs: number) {
    this.since = nowMs;
  }

  get turn(): FlowTurn {
    return this.#turn;
  }

  /** Whether its sender has sent all of it. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** The receiver has asked for more. */
  pull(nowMs: number): void {
    this.#turn = "source";
    this.since = nowMs;
  }

  /** The sender has sent something, which was handed to the receiver. */
  push(nowMs: number): void {
    this.#turn = "sink";
    this.since = nowMs;
  }

  /** The sender has sent all. */
  finish(): void {
    this.#turn = "through";
    this.#isWhole = true;
  }

  /** The receiver takes no more; the sender may go on. */
  abandon(): void {
    this.#turn = "through";
  }
}
