import { toInternalError } from "../../errors.ts";
import type { Exchange } from "./exchange.ts";

/** How to find out whether Bun has sent its answers. */
export interface DepartureSeams {
  /** Answers that Bun has not finished sending, including refusals and probes (`server.pendingRequests`). */
  pendingRequests(): number;
  /**
   * Whether Bun has finished with the answer to a request: the kernel has its last byte, or its connection has ended.
   */
  hasLeft(request: Request): boolean;
  /** Ends the connection of a request soon, unless its client uses it for others. */
  expire(request: Request): void;
  monotonic(): number;
  /** Calls back after the event loop has written what it could. */
  afterTurn(callback: () => void): void;
}

/**
 * How long a client may take to read what it was sent of an answer that was cut, in milliseconds. Then its connection
 * ends. A client far away needs this time for what is on its way.
 */
const CUT_READ_MS = 1_000;

/**
 * Answers that Bun has completely, and those that were cut while Bun had a part of them. They leave as fast as their
 * clients read. Each exchange ends when Bun has finished with its answer.
 *
 * Nearly all answers are finished at the end of the turn in which Bun got them. These are checked together, once.
 */
export class Departures {
  readonly #seams: DepartureSeams;
  #fresh: Exchange[] = [];
  #slow: Exchange[] = [];
  /** Those of the slow ones whose connections have been told to end. */
  readonly #expiring = new WeakSet<Exchange>();
  #isLooking = false;

  constructor(seams: DepartureSeams) {
    this.#seams = seams;
  }

  /** Answers that their clients did not read at once. */
  get slow(): readonly Exchange[] {
    return this.#slow;
  }

  add(exchange: Exchange): void {
    exchange.leave();
    this.#fresh.push(exchange);
    if (this.#isLooking) return;
    this.#isLooking = true;
    this.#seams.afterTurn(() => this.#lookAtFresh());
  }

  /**
   * Ends the exchanges whose answers have left since the last check. Called regularly, and before a limit refuses a
   * request.
   */
  sweep(): void {
    if (this.#slow.length === 0) return;
    this.#slow = this.#slow.filter((exchange) => !this.#endIfLeft(exchange));
    const now = this.#seams.monotonic();
    for (const exchange of this.#slow) this.#expireIfCut(exchange, now);
  }

  #lookAtFresh(): void {
    this.#isLooking = false;
    const fresh = this.#fresh;
    this.#fresh = [];
    // If Bun has no answer left, all of these have left.
    const hasNone = this.#hasNone();
    for (const exchange of fresh) {
      if (hasNone) exchange.end(exchange.cutBy);
      else if (!this.#endIfLeft(exchange)) this.#addSlow(exchange);
    }
  }

  #addSlow(exchange: Exchange): void {
    this.#slow.push(exchange);
    exchange.guard(() => {
      // From now on the client must read. The time before was spent on collecting the answer.
      exchange.noteAlive(this.#seams.monotonic());
      // Only the signal of a client that leaves early tells whether the answer was read or lost.
      exchange.watchClient();
    });
  }

  #expireIfCut(exchange: Exchange, now: number): void {
    if (exchange.cutBy === undefined || now - exchange.activeAt < CUT_READ_MS || this.#expiring.has(exchange)) return;
    this.#expiring.add(exchange);
    try {
      this.#seams.expire(exchange.subject.request);
    } catch (thrown) {
      exchange.end(toInternalError(thrown));
    }
  }

  /** Whether Bun has no answer left. False if that is unknown: then each exchange is checked. */
  #hasNone(): boolean {
    try {
      return this.#seams.pendingRequests() === 0;
    } catch {
      return false;
    }
  }

  #endIfLeft(exchange: Exchange): boolean {
    if (exchange.state === "ended") return true;
    try {
      if (!this.#seams.hasLeft(exchange.subject.request)) return false;
      exchange.end(exchange.cutBy);
    } catch (thrown) {
      exchange.end(toInternalError(thrown));
    }
    return true;
  }
}
