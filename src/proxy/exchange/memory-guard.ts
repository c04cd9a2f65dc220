import { IngressError } from "../../errors.ts";
import type { Exchange } from "./exchange.ts";
import type { ExchangeRegister } from "./register.ts";
import type { ExchangeShare } from "./share.ts";

/**
 * How long a body must wait for its receiver before it counts as stalled, in milliseconds. Quick receivers need less.
 */
const STALL_AFTER_MS = 250;

/** Part of the memory limit at which new requests are refused. The rest must hold what arrives between two checks. */
const RESIDENT_SHORT = 0.75;

/** Part of the memory limit at which something must end. */
const RESIDENT_OVER = 0.85;

/** Part of the candidates that end in one check. The next check sees how much memory that freed. */
const ENDED_PER_LOOK = 1 / 8;

/**
 * Shortest time between two checks, in milliseconds. One check costs about 20 µs, and at 1 GB/s 25 MB arrive in
 * between.
 */
const BURST_LOOK_MS = 25;

/**
 * Shortest time between two garbage collections that the guard asks for, in milliseconds. One stops the event loop for
 * tens of milliseconds.
 */
const COLLECT_INTERVAL_MS = 5_000;

export interface MemoryGuardOptions {
  /** Memory that the process may use in total, in bytes; 0: unknown, so that only the account counts. */
  readonly limitBytes: number;
  /**
   * Resident memory of the process in bytes; undefined: it cannot be read now, for example because descriptors ran out.
   */
  residentBytes(): number | undefined;
  /** Collects garbage and gives memory back to the system. */
  collect(): void;
}

/**
 * Keeps the process within its memory. The account counts stalled bodies. Exchanges that stall beyond a fair share or
 * beyond the budget end: those of the greediest sandbox first, and among them the one that has stalled longest.
 * Resident memory limits what Bun does not show: unfinished WebSocket messages, half heads, and socket buffers.
 */
export class MemoryGuard {
  readonly #register: ExchangeRegister;
  readonly #options: MemoryGuardOptions;
  #resident = 0;
  #sampledAt = Number.NEGATIVE_INFINITY;
  #collectedAt = Number.NEGATIVE_INFINITY;

  constructor(register: ExchangeRegister, options: MemoryGuardOptions) {
    this.#register = register;
    this.#options = options;
  }

  /**
   * Checks memory, unless that was done a moment ago. Called for each request, since the timer is late in a burst of
   * them.
   * @param nowMs Monotonic.
   */
  lookSoon(nowMs: number): void {
    if (nowMs - this.#sampledAt >= BURST_LOOK_MS) this.lookNow(nowMs);
  }

  /** The same, but without a minimum time since the last check. Returns the current resident memory in bytes. */
  lookNow(nowMs: number): number {
    this.#sample(nowMs);
    if (this.isTense) this.look(nowMs);
    return this.#resident;
  }

  /** Resident memory in bytes at the last check. */
  get residentBytes(): number {
    return this.#resident;
  }

  /** Whether memory should be checked more often than usual. */
  get isTense(): boolean {
    return this.#isResidentAbove(RESIDENT_SHORT / 2);
  }

  look(nowMs: number): void {
    this.#sample(nowMs);
    const stalled = this.#listStalled(nowMs);
    this.#endUnfair(stalled);
    if (!this.#isResidentAbove(RESIDENT_SHORT)) return;
    if (nowMs - this.#collectedAt >= COLLECT_INTERVAL_MS) {
      this.#collectedAt = nowMs;
      this.#options.collect();
      this.#sample(nowMs);
    }
    if (this.#isResidentAbove(RESIDENT_OVER)) this.#endForResident(stalled);
  }

  #sample(nowMs: number): void {
    this.#sampledAt = nowMs;
    this.#resident = this.#options.residentBytes() ?? this.#resident;
    this.#register.memory.isResidentShort = this.#isResidentAbove(RESIDENT_SHORT);
  }

  #isResidentAbove(part: number): boolean {
    const { limitBytes } = this.#options;
    return limitBytes > 0 && this.#resident > limitBytes * part;
  }

  /** Lists stalled exchanges: those of the greediest sandbox first, and among them the one that has stalled longest. */
  #listStalled(nowMs: number): Exchange[] {
    const stalled: Exchange[] = [];
    for (const exchange of this.#register) {
      // The account counts an answer that was not read at once from the first check on.
      if (exchange.state === "leaving") exchange.noteTurn();
      if (exchange.cutBy === undefined && isStalled(exchange, nowMs)) stalled.push(exchange);
    }
    return stalled.toSorted(
      (a, b) => b.upstream.share.heldBytes - a.upstream.share.heldBytes || stalledSince(a) - stalledSince(b),
    );
  }

  #endUnfair(stalled: readonly Exchange[]): void {
    const { memory } = this.#register;
    const isGreedy = (share: ExchangeShare | undefined): boolean =>
      share !== undefined && share.heldBytes > memory.freeBytes;
    for (const exchange of stalled) {
      if (exchange.state === "ended" || exchange.cutBy !== undefined) continue;
      if (isGreedy(exchange.upstream.share) || isGreedy(exchange.client)) this.#end(exchange);
    }
  }

  /** Resident memory is nearly used up. Ends exchanges that are known to hold memory first, then the others. */
  #endForResident(stalled: readonly Exchange[]): void {
    const open = stalled.filter((exchange) => exchange.state !== "ended" && exchange.cutBy === undefined);
    const waiting = open.length > 0 ? open : [...this.#register].filter(({ stalledBytes }) => stalledBytes > 0);
    const candidates = waiting.length > 0 ? waiting : this.#quiet();
    const count = Math.ceil(candidates.length * ENDED_PER_LOOK);
    for (const exchange of candidates.slice(0, count)) this.#end(exchange);
  }

  /**
   * Exchanges whose memory only Bun knows: tunnels with unfinished messages, and answers that arrive before they are
   * read. Those of the sandbox with the most exchanges come first, and among them the one that has been quiet longest.
   */
  #quiet(): Exchange[] {
    return [...this.#register]
      .filter((exchange) => exchange.cutBy === undefined)
      .toSorted((a, b) => b.upstream.share.requests - a.upstream.share.requests || a.activeAt - b.activeAt);
  }

  #end(exchange: Exchange): void {
    exchange.cut(new IngressError("memory_exceeded"));
    // Its stalled upload ends in a moment.
    if (exchange.state !== "ended") this.#register.memory.setStalled(exchange, 0);
  }
}

function isStalled(exchange: Exchange, nowMs: number): boolean {
  return nowMs - stalledSince(exchange) >= STALL_AFTER_MS;
}

/** Monotonic ms since which a receiver does not read; infinity: no receiver is late. */
function stalledSince(exchange: Exchange): number {
  const { state, activeAt, upload, download } = exchange;
  return Math.min(
    state === "leaving" ? activeAt : Number.POSITIVE_INFINITY,
    ...[upload, download].map((flow) => (flow?.turn === "sink" ? flow.since : Number.POSITIVE_INFINITY)),
  );
}
