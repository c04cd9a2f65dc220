import { clientNetworkOf } from "../../address.ts";
import type { ByteCounts, ProxyType } from "../../metrics/metrics.ts";
import type { Exchange, ExchangeRegistry } from "./exchange.ts";
import { ExchangeShare } from "./share.ts";
import type { MemoryAccount } from "./memory-account.ts";
import { Slots } from "./slot-list.ts";
import type { Upstream } from "../upstream/upstream.ts";

/** The counters of the register, for tests and the soak. All are zero when nothing is open. */
export interface RegisterCounters {
  readonly exchanges: number;
  /** Clients that have open exchanges. */
  readonly clients: number;
  /** Bytes in the memory account, with the cut answers that Bun still has. */
  readonly heldBytes: number;
}

/**
 * All open exchanges. It is the one place that counts them: in total, for each sandbox generation and for each client.
 * The watchdog, the limits, the drain and the end of a generation use it.
 */
export class ExchangeRegister implements ExchangeRegistry, Iterable<Exchange> {
  readonly memory: MemoryAccount;
  readonly #exchanges = new Slots<Exchange>();
  /** Clients with open exchanges, by their network. There are never more of them than exchanges. */
  readonly #clients = new Map<string, ExchangeShare>();

  constructor(memory: MemoryAccount) {
    this.memory = memory;
  }

  /** Open exchanges. */
  get size(): number {
    return this.#exchanges.size;
  }

  /**
   * The share of a client; a new one if it has nothing open. All addresses of an IPv6 /64 count as one client, since
   * whoever has one of them has them all. A client that a trusted peer names has a separate share for each peer.
   * Otherwise a trusted pod could use up what somebody else may have open.
   * @param address Both are canonical. `peer` is the client itself if no trusted peer names the client.
   */
  shareOfClient({ client, peer }: { readonly client: string; readonly peer: string }): ExchangeShare {
    const { network } = clientNetworkOf(client);
    const key = peer === client ? network : `${peer} ${network}`;
    return this.#clients.get(key) ?? new ExchangeShare(key);
  }

  /** Called by the exchange when it begins. */
  add(exchange: Exchange): void {
    exchange.registerSlot = this.#exchanges.add(exchange);
    const { share } = exchange.upstream;
    exchange.upstreamSlot = share.exchanges.add(exchange);
    share.requests++;
    const { client } = exchange;
    if (client === undefined) return;
    if (client.requests++ === 0) this.#clients.set(client.key, client);
  }

  /** Called by the exchange when it ends. */
  remove(exchange: Exchange): void {
    this.memory.release(exchange);
    this.#exchanges.remove(exchange.registerSlot);
    const { share } = exchange.upstream;
    share.exchanges.remove(exchange.upstreamSlot);
    share.requests--;
    const { client } = exchange;
    if (client === undefined) return;
    if (--client.requests === 0) this.#clients.delete(client.key);
  }

  move(exchange: Exchange, to: Upstream): void {
    const { share } = exchange.upstream;
    share.exchanges.remove(exchange.upstreamSlot);
    share.requests--;
    share.heldBytes -= exchange.accountedBytes;
    exchange.upstreamSlot = to.share.exchanges.add(exchange);
    to.share.requests++;
    to.share.heldBytes += exchange.accountedBytes;
  }

  tryHold(exchange: Exchange, bytes: number): boolean {
    return this.memory.tryHold(exchange, bytes);
  }

  hasRoomFor(exchange: Exchange, bytes: number): boolean {
    return this.memory.hasRoomFor(exchange, bytes);
  }

  setStalled(exchange: Exchange, bytes: number): void {
    this.memory.setStalled(exchange, bytes);
  }

  setEnding(exchange: Exchange): void {
    this.memory.setEnding(exchange);
  }

  counters(): RegisterCounters {
    return { exchanges: this.size, clients: this.#clients.size, heldBytes: this.memory.occupiedBytes };
  }

  /** Bytes that open exchanges have moved so far. */
  bytes(): Readonly<Record<ProxyType, ByteCounts>> {
    const sums = { http: { in: 0, out: 0 }, websocket: { in: 0, out: 0 } };
    for (const exchange of this.#exchanges) {
      const sum = exchange.subject.isUpgrade ? sums.websocket : sums.http;
      sum.in += exchange.bytesIn;
      sum.out += exchange.bytesOut;
    }
    return sums;
  }

  [Symbol.iterator](): Iterator<Exchange> {
    return this.#exchanges[Symbol.iterator]();
  }
}
