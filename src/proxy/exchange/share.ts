import type { IngressError } from "../../errors.ts";
import { Slots } from "./slot-list.ts";

/** What a generation knows of an exchange of its own. */
export interface SharingExchange {
  readonly state: string;
  readonly subject: { readonly route: { readonly port: number } };
  /** Ends it early. */
  cut(error: IngressError): void;
}

/** What one sandbox generation, or one client, has of what belongs to all. */
export class ExchangeShare {
  /** Whose share it is: the network of a client. Empty for a generation, which its upstream knows. */
  readonly key: string;
  /** The open exchanges of a generation. A client's are only counted. */
  readonly exchanges = new Slots<SharingExchange>();
  /** Open exchanges. */
  requests = 0;
  /** Bytes in the memory account. */
  heldBytes = 0;

  constructor(key = "") {
    this.key = key;
  }
}

/**
 * Whether one that has `held` may take one more of a total of which `free` is left: while it has no more than what is free.
 * So a greedy one gets half, two get a third each, and what is left is always as much as any of them has.
 */
export function isFairRequest(held: number, free: number): boolean {
  return held <= free;
}

/** The same for `bytes` more: afterwards it must not have more than what is free then. */
export function isFairShare(held: number, bytes: number, free: number): boolean {
  return held + bytes <= free - bytes;
}
