import { type Clock, sleep } from "../../clock.ts";
import type { ExchangeShare, SharingExchange } from "../exchange/share.ts";
import { type OpenConnections, splitDialled } from "./open-connections.ts";

/**
 * How long an idle connection must stay open to prove that its server keeps idle connections, in milliseconds. It is as
 * long as a connection may be idle before it carries a POST. So servers that close at once, or after milliseconds, fail
 * the proof.
 */
export const IDLE_PROOF_MS = 1_000;

/**
 * Time in milliseconds between the end of a request and the check that must not see its connection any more, since Bun
 * closes it in another thread. It is also the margin for a close that is on its way.
 */
const SETTLE_MS = 50;

/**
 * Pause before the next attempt at a port without a proof, in milliseconds. The server may close only its first
 * connections. Or Bun, which keeps 64 idle connections in total, closed the one that was watched.
 */
export const NEXT_ATTEMPT_MS = 30_000;

/** Ports that are remembered for each generation. POSTs to further ports always get new connections. */
export const PROOF_PORTS_MAX = 256;

/** Connections that are watched at a time, for all generations: half of the idle connections that Bun keeps. */
export const WATCHES_MAX = 32;

/** What a server does with idle connections. */
export type Standing =
  /** It keeps them for longer than `IDLE_PROOF_MS`, or the kernel does not tell. */
  | "keeps"
  /** Unknown. A request may get its own connection, which is then offered as a proof. */
  | "untested"
  /** It closes them, or it is unknown and cannot be tested now. */
  | "closes";

/** What proofs need from the program. */
export interface IdleProofSeams {
  readonly clock: Clock;
  readonly openConnections: OpenConnections;
  readonly slots: WatchSlots;
}

/** Counts the watches of all generations. */
export class WatchSlots {
  #free = WATCHES_MAX;

  get isFull(): boolean {
    return this.#free === 0;
  }

  take(): void {
    this.#free--;
  }

  give(): void {
    this.#free++;
  }
}

/** A session whose only connection is idle; `retire` closes it. */
export interface IdleSession {
  retire(): void;
}

/** The other end of a session's connection. */
export interface ProofTarget {
  /** `address:port`. */
  readonly dialled: string;
  readonly port: number;
}

/**
 * What is known about how the servers of one generation treat idle connections, for each port.
 *
 * A server may close a connection right after its answer without saying so (uvicorn with `--timeout-keep-alive 0`). A
 * POST that meets such a close is lost, since it must not be sent twice (RFC 9110 §9.2.2). So POSTs share connections
 * only if a connection to the port was seen to stay open while idle.
 *
 * Bun does not tell which socket a request used, so the proof counts. The kernel is asked twice. Some connection was
 * idle if more connections appear in both answers than requests can have used in between.
 */
export class IdleProofs {
  readonly #share: ExchangeShare;
  readonly #seams: IdleProofSeams;
  readonly #keeping = new Set<number>();
  /** Ports without a proof, with the monotonic time of the next attempt in milliseconds. */
  readonly #closing = new Map<number, number>();
  /** The port that is being watched; there is at most one. */
  #watched: number | undefined;
  #lastKeeping: number | undefined;
  #hasEnded = false;

  constructor(share: ExchangeShare, seams: IdleProofSeams) {
    this.#share = share;
    this.#seams = seams;
  }

  standing(port: number, nowMs: number): Standing {
    if (port === this.#lastKeeping) return "keeps";
    if (this.#keeping.has(port)) {
      this.#lastKeeping = port;
      return "keeps";
    }
    return this.#mayWatch(port, nowMs) ? "untested" : "closes";
  }

  /**
   * Whether requests to `port` must use their own connections and close them, because the connections are being
   * counted.
   */
  isWatching(port: number): boolean {
    return port === this.#watched;
  }

  /** Takes a session whose only request is over. Watches its connection if that helps, else closes it. */
  offer(session: IdleSession, target: ProofTarget): void {
    if (this.#keeping.has(target.port) || !this.#mayWatch(target.port, this.#seams.clock.monotonic())) {
      session.retire();
      return;
    }
    void this.#watch(session, target);
  }

  /** Remembers for good that the server on `port` closed a connection despite its proof. */
  refute(port: number): void {
    this.#forget(port);
    this.#closing.set(port, Number.POSITIVE_INFINITY);
  }

  /** Stops watching for good. */
  end(): void {
    this.#hasEnded = true;
  }

  #mayWatch(port: number, nowMs: number): boolean {
    if (this.#hasEnded || this.#watched !== undefined || this.#seams.slots.isFull) return false;
    const nextAttempt = this.#closing.get(port);
    if (nextAttempt !== undefined) return nowMs >= nextAttempt;
    return this.#keeping.size + this.#closing.size < PROOF_PORTS_MAX;
  }

  async #watch(session: IdleSession, { dialled, port }: ProofTarget): Promise<void> {
    const { slots, clock } = this.#seams;
    this.#watched = port;
    slots.take();
    try {
      const keeps = await this.#seesSurvivor(dialled, port);
      this.#forget(port);
      if (keeps) this.#keeping.add(port);
      else this.#closing.set(port, clock.monotonic() + NEXT_ATTEMPT_MS);
    } finally {
      this.#watched = undefined;
      slots.give();
      session.retire();
    }
  }

  #forget(port: number): void {
    this.#keeping.delete(port);
    this.#closing.delete(port);
    if (this.#lastKeeping === port) this.#lastKeeping = undefined;
  }

  /**
   * Whether a connection stayed open while idle for `IDLE_PROOF_MS`. Also true if the kernel does not tell; then the
   * first lost POST tells.
   */
  async #seesSurvivor(dialled: string, port: number): Promise<boolean> {
    const { clock } = this.#seams;
    const target = splitDialled(dialled);
    const look = (): ReturnType<OpenConnections> => this.#seams.openConnections(target.address, target.port);
    const before = this.#exchangesOn(port);
    const first = await look();
    if (first === undefined) return true;
    if (first.size === 0) return false;
    const open = this.#exchangesOn(port);
    for (const exchange of open) if (exchange.state === "leaving") open.delete(exchange);
    await sleep(clock, IDLE_PROOF_MS);
    const late = this.#exchangesOn(port);
    await sleep(clock, SETTLE_MS);
    const second = await look();
    if (second === undefined) return true;
    // A `leaving` exchange no longer used its connection, so the connection has been idle since. An exchange that began
    // before the watch may have left its connection to the others meanwhile.
    const users = open.intersection(before.union(late));
    return first.intersection(second).size > users.size;
  }

  /** The open exchanges that may have a connection to `port`. */
  #exchangesOn(port: number): Set<SharingExchange> {
    const found = new Set<SharingExchange>();
    for (const exchange of this.#share.exchanges) {
      if (exchange.subject.route.port === port && !HAS_NO_CONNECTION.has(exchange.state)) found.add(exchange);
    }
    return found;
  }
}

const HAS_NO_CONNECTION: ReadonlySet<string> = new Set(["held", "receiving"]);
