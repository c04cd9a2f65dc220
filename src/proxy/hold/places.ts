import { IngressError } from "../../errors.ts";
import type { Exchange } from "../exchange/exchange.ts";
import { isFairRequest } from "../exchange/share.ts";

export interface PlaceLimits {
  /** All places, at least 1. */
  readonly max: number;
  /** Places that one sandbox may take, at least 1. */
  readonly ofSandboxMax: number;
}

/**
 * Decides who gets the places for waiting. One person can have many sandboxes and be many clients.
 *
 * If all places are taken, a sandbox still gets one from the sandbox with the most, until it has as many. So a few
 * sandboxes cannot keep others from waiting and from being woken. A client with an address of its own has at most as
 * many places as stay free, and at one sandbox at most as many as it leaves to the sandbox's other clients.
 */
export class Places {
  readonly #limits: PlaceLimits;
  /** By the name of the sandbox's object; in the order of arrival. */
  readonly #holders = new Map<string, Set<Exchange>>();
  /** Places taken by clients that are told apart, by their keys. */
  readonly #clients = new Map<string, number>();
  #taken = 0;

  constructor(limits: PlaceLimits) {
    this.#limits = limits;
  }

  /** Places that are taken. */
  get size(): number {
    return this.#taken;
  }

  /** Places taken for a sandbox by this name. */
  sizeOf(name: string): number {
    return this.#holders.get(name)?.size ?? 0;
  }

  /** Whether `take` would find a place, if the client has not too many already. */
  hasPlace(name: string): boolean {
    return this.#lookFor(name).free > 0;
  }

  /** Takes a place for a request without one. It may cut another request with `hold_full`. Throws `hold_full`. */
  take(exchange: Exchange, name: string): void {
    const { free, giver } = this.#lookFor(name);
    if (free <= 0 || !this.#isFairClient(exchange, name, free)) throw new IngressError("hold_full");
    if (giver !== undefined) {
      this.giveBack(giver.exchange, giver.name);
      giver.exchange.cut(new IngressError("hold_full"));
    }
    const holders = this.#holders.get(name) ?? new Set();
    this.#holders.set(name, holders.add(exchange));
    this.#taken++;
    this.#count(exchange, 1);
  }

  /** Does nothing for a request that has no place. */
  giveBack(exchange: Exchange, name: string): void {
    const holders = this.#holders.get(name);
    if (holders?.delete(exchange) !== true) return;
    if (holders.size === 0) this.#holders.delete(name);
    this.#taken--;
    this.#count(exchange, -1);
  }

  /** The places that a sandbox can have now, and the request that would have to give one. */
  #lookFor(name: string) {
    const { max, ofSandboxMax } = this.#limits;
    const held = this.sizeOf(name);
    if (held >= ofSandboxMax) return { free: 0, giver: undefined };
    const giver = this.#taken >= max ? this.#findGiver(held + 1) : undefined;
    return { free: max - this.#taken + (giver === undefined ? 0 : 1), giver };
  }

  #isFairClient({ client }: Exchange, name: string, free: number): boolean {
    if (client === undefined) return true;
    if (!isFairRequest(this.#clients.get(client.key) ?? 0, free)) return false;
    let here = 0;
    for (const holder of this.#holders.get(name) ?? []) if (holder.client?.key === client.key) here++;
    return isFairRequest(here, this.#limits.ofSandboxMax - this.sizeOf(name));
  }

  /** The newest request of the sandbox with the most places; undefined: no sandbox has more than `least`. */
  #findGiver(least: number): { readonly exchange: Exchange; readonly name: string } | undefined {
    let most = least;
    let largest: string | undefined;
    for (const [name, { size }] of this.#holders) {
      if (size <= most) continue;
      most = size;
      largest = name;
    }
    if (largest === undefined) return undefined;
    const exchange = [...(this.#holders.get(largest) ?? [])].at(-1);
    return exchange === undefined ? undefined : { exchange, name: largest };
  }

  #count({ client }: Exchange, change: 1 | -1): void {
    if (client === undefined) return;
    const count = (this.#clients.get(client.key) ?? 0) + change;
    if (count > 0) this.#clients.set(client.key, count);
    else this.#clients.delete(client.key);
  }
}
