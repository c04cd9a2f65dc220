import type { Exchange } from "./exchange.ts";
import { type ExchangeShare, isFairShare } from "./share.ts";

/**
 * Part of the budget above which requests of sandboxes and clients that already hold much are refused. The rest is for
 * open requests, so that later ones do not end them, and for sandboxes and clients that hold little.
 */
const NEARLY_FULL = 7 / 8;

/**
 * Part of the free memory that a sandbox or a client may hold and still begin something while the budget is nearly
 * full. If all requests were refused then, a few sandboxes that stall could refuse all others for as long as they like:
 * none of them has more than its fair share, so nothing ends them.
 */
const NEARLY_FULL_SHARE = 1 / 2;

/**
 * The one account of the memory that exchanges hold: whole bodies, frames that wait in tunnels, data for slow readers,
 * and answers that wait to be read. Data that moves quickly is not counted.
 */
export class MemoryAccount {
  readonly budgetBytes: number;
  /**
   * Whether the process uses nearly all the memory that it may, whatever the account says. The memory guard sets it.
   */
  isResidentShort = false;
  #heldBytes = 0;
  /**
   * Of answers that were cut, until Bun lets go of them. Nothing more must end for them, but they leave less room for
   * what begins.
   */
  #endingBytes = 0;

  /** @param budgetBytes `--memory-budget`. */
  constructor(budgetBytes: number) {
    this.budgetBytes = budgetBytes;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** What is held, with the cut answers that Bun still has. */
  get occupiedBytes(): number {
    return this.#heldBytes + this.#endingBytes;
  }

  get freeBytes(): number {
    return Math.max(0, this.budgetBytes - this.#heldBytes);
  }

  /** What is left for requests that begin. */
  get #roomBytes(): number {
    return Math.max(0, this.freeBytes - this.#endingBytes);
  }

  /** Whether new requests to a sandbox or from a client must be refused. */
  isShortFor(sandbox: ExchangeShare, client: ExchangeShare | undefined): boolean {
    if (this.isResidentShort) return true;
    if (this.occupiedBytes <= this.budgetBytes * NEARLY_FULL) return false;
    const allowed = this.#roomBytes * NEARLY_FULL_SHARE;
    return occupiedBy(sandbox) > allowed || (client !== undefined && occupiedBy(client) > allowed);
  }

  /**
   * Changes what an exchange holds to `bytes`. Returns false, and changes nothing, if more would exceed the budget or
   * the fair share of its sandbox or its client.
   */
  tryHold(exchange: Exchange, bytes: number): boolean {
    const more = bytes - (exchange.accountedBytes - exchange.stalledBytes);
    if (more > 0) {
      const free = this.#roomBytes;
      if (more > free || !isFairShare(occupiedBy(exchange.upstream.share), more, free)) return false;
      if (exchange.client !== undefined && !isFairShare(occupiedBy(exchange.client), more, free)) return false;
    }
    this.#add(exchange, more);
    return true;
  }

  /**
   * Whether a stream may begin that may hold up to `bytes`, within the budget and the fair shares of sandbox and
   * client.
   */
  hasRoomFor(exchange: Exchange, bytes: number): boolean {
    const free = this.#roomBytes;
    const { share } = exchange.upstream;
    if (this.isShortFor(share, exchange.client) || !isFairShare(occupiedBy(share), bytes, free)) return false;
    return exchange.client === undefined || isFairShare(occupiedBy(exchange.client), bytes, free);
  }

  /**
   * Sets how much of Bun's memory an exchange holds because a receiver does not read; 0: the receiver has taken
   * everything. The sum may exceed the budget; then something must end.
   */
  setStalled(exchange: Exchange, bytes: number): void {
    this.#add(exchange, bytes - exchange.stalledBytes);
    exchange.stalledBytes = bytes;
  }

  /** An exchange was cut, and Bun still has its answer. */
  setEnding(exchange: Exchange): void {
    const bytes = exchange.accountedBytes;
    this.#add(exchange, -bytes);
    exchange.stalledBytes = 0;
    this.#addEnding(exchange, bytes);
  }

  /** Removes an exchange from the account, since it has ended. */
  release(exchange: Exchange): void {
    this.#add(exchange, -exchange.accountedBytes);
    this.#addEnding(exchange, -exchange.endingBytes);
    exchange.stalledBytes = 0;
  }

  #addEnding(exchange: Exchange, bytes: number): void {
    this.#endingBytes += bytes;
    exchange.endingBytes += bytes;
    exchange.upstream.share.endingBytes += bytes;
    if (exchange.client !== undefined) exchange.client.endingBytes += bytes;
  }

  #add(exchange: Exchange, bytes: number): void {
    if (bytes === 0) return;
    this.#heldBytes += bytes;
    exchange.accountedBytes += bytes;
    exchange.upstream.share.heldBytes += bytes;
    if (exchange.client !== undefined) exchange.client.heldBytes += bytes;
  }
}

function occupiedBy({ heldBytes, endingBytes }: ExchangeShare): number {
  return heldBytes + endingBytes;
}
