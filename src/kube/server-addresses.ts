import { lookup } from "node:dns/promises";
import type { Clock } from "../clock.ts";

/** The addresses of a host name. May reject. */
export type LookupHost = (name: string) => Promise<readonly string[]>;

/** How long an answer counts, in milliseconds: as long as the one with which Bun opens connections. */
const ANSWER_MAX_AGE_MS = 30_000;

/** How long a request to the API server waits for the look-up, in milliseconds. */
const LOOKUP_MAX_MS = 2_000;

export interface ServerAddressesOptions {
  readonly clock: Clock;
  /** Default: the system's look-up, by which connections to the API server find their address, too. */
  readonly lookupHost?: LookupHost | undefined;
  /** Gets the addresses of each answer, in any spelling. They need not be different from the last ones. */
  readonly onAddresses: (addresses: readonly string[]) => void;
}

/**
 * Returns a function that tells the addresses of an API server. It takes the server's URL before each request, looks a
 * host name up if the last answer is older than 30 s, and resolves after 2 s at the latest. It never rejects: without
 * an answer nothing is told.
 */
export function createServerAddresses(options: ServerAddressesOptions): (server: string) => Promise<void> {
  const { clock, onAddresses, lookupHost = lookupBySystem } = options;
  let asked: { readonly host: string; readonly atMs: number; readonly told: Promise<void> } | undefined;
  return async (server) => {
    const host = new URL(server).hostname.replace(/^\[(.*)\]$/, "$1");
    const now = clock.monotonic();
    if (asked === undefined || asked.host !== host || now - asked.atMs >= ANSWER_MAX_AGE_MS) {
      // A host name that cannot be looked up may still be reached, by a proxy.
      asked = { host, atMs: now, told: lookupHost(host).then(onAddresses, () => {}) };
    }
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = clock.setTimer(LOOKUP_MAX_MS, resolve);
    await Promise.race([asked.told, late]);
    timer.cancel();
  };
}

/** An address is its own answer. */
async function lookupBySystem(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}
