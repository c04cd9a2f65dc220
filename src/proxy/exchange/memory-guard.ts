import { IngressError } from "../../errors.ts";
import type { Exchange } from "./exchange.ts";
import type { ExchangeRegister } from "./register.ts";
import type { ExchangeShare } from "./share.ts";

/** How long a body must wait for its receiver before it counts as stalled, in milliseconds: quick ones wait for less. */
const STALL_AFTER_MS = 250;

/** Part of the memory limit at which new requests are refused: what comes in between two looks must still fit. */
const RESIDENT_SHORT = 0.75;

/** Part of the memory limit at which something has to end. */
const RESIDENT_OVER = 0.85;

/** Part of what could end that is ended in one look; the next look sees how much memory that gave back. */
const ENDED_PER_LOOK = 1 / 8;

/** Least time between two looks, in milliseconds: one costs about 20 µs, and a gigabyte a second brings 25 MB meanwhile. */
const BURST_LOOK_MS = 25;

/** Ms between two collections of garbage that the guard asks for: one stops the loop for tens of milliseconds. */
const COLLECT_INTERVAL_MS = 5_000;

export interface MemoryGuardOptions {
  /** Memory that the process may use in all, in bytes; 0: unknown, only the account counts. */
  readonly limitBytes: number;
  /** Resident memory of the process in bytes, now; undefined: it cannot be read, for lack of a descriptor say. */
  residentBytes(): number | undefined;
  /** Collects garbage and gives memory back to the system. */
  collect(): void;
}

/**
 * Keeps the process within its memory. Stalled bodies are charged to the account; whoever stalls beyond a fair share, or beyond
 * the budget, ends: the greediest first, and of these the one that stalls longest. What Bun does not show (unfinished WebSocket
 * messages, half heads, the kernel's buffers of others) is bounded by resident memory.
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
   * Looks, unless that was done a moment ago. Called for each request, since in a burst of them the timer comes late.
   * @param nowMs Monotonic.
   */
  lookSoon(nowMs: number): void {
    if (nowMs - this.#sampledAt >= BURST_LOOK_MS) this.lookNow(nowMs);
  }

  /** The same, whenever that was done. Gives resident memory in bytes as it is now. */
  lookNow(nowMs: number): number {
    this.#sample(nowMs);
    if (this.isTense) this.look(nowMs);
    return this.#resident;
  }

  /** Resident memory in bytes, as it was last looked at. */
  get residentBytes(): number {
    return this.#resident;
  }

  /** Whether memory should be looked at more often than usual. */
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

  /** Gives those that stall, the greediest sandbox's first, and of these the one that stalls longest. */
  #listStalled(nowMs: number): Exchange[] {
    const stalled: Exchange[] = [];
    for (const exchange of this.#register) {
      // An answer that was not read at once is in the account from the first look on.
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

  /** Resident memory is nearly all: what is known to hold some ends first, then tunnels, whose unfinished messages Bun hides. */
  #endForResident(stalled: readonly Exchange[]): void {
    const open = stalled.filter((exchange) => exchange.state !== "ended" && exchange.cutBy === undefined);
    const waiting = open.length > 0 ? open : [...this.#register].filter(({ stalledBytes }) => stalledBytes > 0);
    const candidates = waiting.length > 0 ? waiting : this.#quiet();
    const count = Math.ceil(candidates.length * ENDED_PER_LOOK);
    for (const exchange of candidates.slice(0, count)) this.#end(exchange);
  }

  /**
   * Those whose memory only Bun knows: tunnels with unfinished messages, and answers that arrive before they are read. Those of
   * the sandbox with most of them first, and of these the one that moved least lately.
   */
  #quiet(): Exchange[] {
    return [...this.#register]
      .filter((exchange) => exchange.cutBy === undefined)
      .toSorted((a, b) => b.upstream.share.requests - a.upstream.share.requests || a.activeAt - b.activeAt);
  }

  #end(exchange: Exchange): void {
    exchange.cut(new IngressError("memory_exceeded"));
    // From now on it is not charged for what it stalls: its share of the account is free for others.
    if (exchange.state !== "ended") this.#register.memory.setStalled(exchange, 0);
  }
}

function isStalled(exchange: Exchange, nowMs: number): boolean {
  return nowMs - stalledSince(exchange) >= STALL_AFTER_MS;
}

/** Monotonic ms since which a receiver owes a read; infinity where none does. */
function stalledSince(exchange: Exchange): number {
  const { state, activeAt, upload, download } = exchange;
  return Math.min(
    state === "leaving" ? activeAt : Number.POSITIVE_INFINITY,
    ...[upload, download].map((flow) => (flow?.turn === "sink" ? flow.since : Number.POSITIVE_INFINITY)),
  );
}
