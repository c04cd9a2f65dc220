import { IngressError } from "../../errors.ts";
import type { Exchange } from "./exchange.ts";
import type { ExchangeRegister } from "./register.ts";
import type { ExchangeShare } from "./share.ts";

const MIB = 1024 * 1024;

/** How long a body must wait for its receiver before it counts as stalled, in milliseconds: quick ones wait for less. */
const STALL_AFTER_MS = 250;

/** What Bun and the allocator hold of an answer that its client does not read, in bytes: 2.1 to 2.4 MiB were measured. */
const STALLED_DOWNLOAD_BYTES = 2.5 * MIB;

/** What they hold of a request's body that the sandbox does not read, in bytes: 3.3 to 5 MiB were measured. */
const STALLED_UPLOAD_BYTES = 5 * MIB;

/** Part of the memory limit at which new requests are refused: what comes in between two looks must still fit. */
const RESIDENT_SHORT = 0.75;

/** Part of the memory limit at which something has to end. */
const RESIDENT_OVER = 0.85;

/** Part of what could end that is ended in one look; the next look sees how much memory that gave back. */
const ENDED_PER_LOOK = 1 / 8;

/** Ms between two collections of garbage that the guard asks for: one stops the loop for tens of milliseconds. */
const COLLECT_INTERVAL_MS = 5_000;

export interface MemoryGuardOptions {
  /** Memory that the process may use in all, in bytes; 0: unknown, only the account counts. */
  readonly limitBytes: number;
  /** Resident memory of the process in bytes, now. */
  residentBytes(): number;
  /** Collects garbage and gives memory back to the system. */
  collect(): void;
  /** Told of each exchange that ends because memory is short. */
  onEnded(): void;
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
  #collectedAt = Number.NEGATIVE_INFINITY;

  constructor(register: ExchangeRegister, options: MemoryGuardOptions) {
    this.#register = register;
    this.#options = options;
  }

  /** Whether new requests are to be refused. */
  isShort(): boolean {
    return this.#register.memory.isNearlyFull || this.#isResidentAbove(RESIDENT_SHORT);
  }

  /** Whether memory should be looked at more often than usual. */
  get isTense(): boolean {
    return this.#isResidentAbove(RESIDENT_SHORT / 2);
  }

  look(nowMs: number): void {
    this.#resident = this.#options.residentBytes();
    const stalled = this.#chargeStalled(nowMs);
    this.#endUnfair(stalled);
    if (!this.#isResidentAbove(RESIDENT_SHORT)) return;
    if (nowMs - this.#collectedAt >= COLLECT_INTERVAL_MS) {
      this.#collectedAt = nowMs;
      this.#options.collect();
      this.#resident = this.#options.residentBytes();
    }
    if (this.#isResidentAbove(RESIDENT_OVER)) this.#endForResident(stalled);
  }

  #isResidentAbove(part: number): boolean {
    const { limitBytes } = this.#options;
    return limitBytes > 0 && this.#resident > limitBytes * part;
  }

  /** Gives those that stall, the greediest sandbox's first, and of these the one that stalls longest. */
  #chargeStalled(nowMs: number): Exchange[] {
    const { memory } = this.#register;
    const stalled: Exchange[] = [];
    for (const exchange of this.#register) {
      const bytes = stalledBytesOf(exchange, nowMs);
      if (bytes !== exchange.stalledBytes) memory.setStalled(exchange, bytes);
      if (bytes > 0) stalled.push(exchange);
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
    const candidates = open.length > 0 ? open : this.#tunnels();
    const count = Math.ceil(candidates.length * ENDED_PER_LOOK);
    for (const exchange of candidates.slice(0, count)) this.#end(exchange);
  }

  /** Tunnels: those of the sandbox with most of them first, and of these the one whose last whole message is longest ago. */
  #tunnels(): Exchange[] {
    return [...this.#register]
      .filter((exchange) => exchange.state === "tunnel")
      .toSorted((a, b) => b.upstream.share.requests - a.upstream.share.requests || a.activeAt - b.activeAt);
  }

  #end(exchange: Exchange): void {
    this.#options.onEnded();
    exchange.cut(new IngressError("memory_exceeded"));
    // What was cut is on its way out: its share of the account is free for others.
    if (exchange.state !== "ended") this.#register.memory.setStalled(exchange, 0);
  }
}

function stalledBytesOf(exchange: Exchange, nowMs: number): number {
  if (exchange.cutBy !== undefined) return 0;
  if (exchange.state === "leaving") return exchange.bytesOut;
  const { download, upload } = exchange;
  let bytes = 0;
  if (download?.turn === "sink" && nowMs - download.since >= STALL_AFTER_MS) bytes += STALLED_DOWNLOAD_BYTES;
  if (upload?.turn === "sink" && nowMs - upload.since >= STALL_AFTER_MS) bytes += STALLED_UPLOAD_BYTES;
  return bytes;
}

function stalledSince(exchange: Exchange): number {
  return Math.min(exchange.download?.since ?? exchange.activeAt, exchange.upload?.since ?? exchange.activeAt);
}
