import { IngressError } from "../../errors.ts";
import type { Exchange } from "./exchange.ts";

/** What tells how far Bun is with its answers. */
export interface DepartureSeams {
  /** Answers that Bun still has, those of refusals and probes included (`server.pendingRequests`). */
  pendingRequests(): number;
  /** Whether Bun is through with the answer to a request: its last byte is with the kernel, or its connection has ended. */
  hasLeft(request: Request): boolean;
  monotonic(): number;
  /** Calls back when the event loop has written what it could. */
  afterTurn(callback: () => void): void;
}

/**
 * Answers that are whole with Bun and leave as fast as their clients read. Each exchange ends when Bun is through with it.
 *
 * Nearly all are through at the end of the turn in which they were given to Bun: these are looked at together, once.
 */
export class Departures {
  readonly #seams: DepartureSeams;
  #fresh: Exchange[] = [];
  #slow: Exchange[] = [];
  #isLooking = false;

  constructor(seams: DepartureSeams) {
    this.#seams = seams;
  }

  /** Answers whose clients did not read them at once. */
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

  /** Ends those that have left since the last look. Called now and then, and before a limit refuses somebody. */
  sweep(): void {
    if (this.#slow.length === 0) return;
    this.#slow = this.#slow.filter((exchange) => !this.#endIfLeft(exchange));
  }

  #lookAtFresh(): void {
    this.#isLooking = false;
    const fresh = this.#fresh;
    this.#fresh = [];
    // Bun has no answer left: so none of ours.
    const hasNone = this.#hasNone();
    for (const exchange of fresh) {
      if (hasNone) exchange.end(exchange.cutBy);
      else if (!this.#endIfLeft(exchange)) this.#addSlow(exchange);
    }
  }

  #addSlow(exchange: Exchange): void {
    this.#slow.push(exchange);
    exchange.guard(() => {
      // From here on its client owes a read; what came before was the time to collect the answer.
      exchange.noteAlive(this.#seams.monotonic());
      // Only a client that leaves in the midst tells the difference between read and lost.
      exchange.watchClient();
    });
  }

  /** Where that cannot be told, each is looked at. */
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
      exchange.end(new IngressError("internal", undefined, { cause: thrown }));
    }
    return true;
  }
}
