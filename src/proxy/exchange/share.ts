import type { IngressError } from "../../errors.ts";
import { Slots } from "./slot-list.ts";

/** What a generation knows about one of its exchanges. */
export interface SharingExchange {
  readonly state: string;
  readonly subject: { readonly route: { readonly port: number } };
  /** Ends it early. */
  cut(error: IngressError): void;
}

/** What one sandbox generation or one client uses of the shared resources. */
export class ExchangeShare {
  /** The network of a client. Empty for a generation, since its upstream identifies it. */
  readonly key: string;
  /** The open exchanges of a generation. For a client this stays empty, since its exchanges are only counted. */
  readonly exchanges = new Slots<SharingExchange>();
  /** Open exchanges. */
  requests = 0;
  /** Bytes in the memory account. */
  heldBytes = 0;
  /** Bytes of answers that were cut and that Bun still has. */
  endingBytes = 0;

  constructor(key = "") {
    this.key = key;
  }
}

/**
 * Whether a user that holds `held` may take one more while `free` are left: it may as long as it holds at most as many
 * as are free. So one greedy user gets half, two get a third each, and as much stays free as each of them has.
 */
export function isFairRequest(held: number, free: number): boolean {
  return held <= free;
}

/** The same for `bytes` more: afterwards the user must hold at most as much as is free then. */
export function isFairShare(held: number, bytes: number, free: number): boolean {
  return held + bytes <= free - bytes;
}
