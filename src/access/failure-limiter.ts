import type { Clock } from "../clock.ts";
import { clientNetworkOf } from "../address.ts";
import { LeakyBuckets } from "./leaky-buckets.ts";

/**
 * Failed signature checks that a client may make at a sandbox in a burst: a page of stale links must not lock out its
 * reader.
 */
export const FAILURE_BURST = 20;

/**
 * Milliseconds until a client may fail once more: ten failures a minute. This is less than the refusal's `Retry-After`
 * of 10 s, so a client that obeys it is checked again. It slows only one client; `SANDBOX_FAILURE_LEAK_MS` slows an
 * attacker with many addresses.
 */
export const FAILURE_REFILL_MS = 6_000;

/**
 * Failures that all clients of one IPv6 /48 may make at a sandbox in a burst: ten times the limit of one client. A /48
 * is one site (RFC 6177 §2), or a part of a mobile network where each subscriber has a /64, so several readers with
 * stale links need room. But hosters give a whole /48, which is 65,536 /64s, to one customer.
 */
export const SITE_FAILURE_BURST = 10 * FAILURE_BURST;

/**
 * Milliseconds until a /48 may fail once more: a hundred failures a minute, a sixth of a sandbox's limit for all
 * clients.
 */
export const SITE_FAILURE_LEAK_MS = FAILURE_REFILL_MS / 10;

/**
 * Failures that all clients together may make at a sandbox in a burst: fifty clients with stale links, each at its
 * limit.
 */
export const SANDBOX_FAILURE_BURST = 1_000;

/**
 * Milliseconds until a sandbox accepts one more failure: ten a second from all clients together, whatever their
 * addresses. This is the real bound on guessing: to try half of the 2^32 signatures of one route takes 2^31 / 10 s, or
 * 6.8 years; a year of guessing succeeds with a chance of 7 %. Each replica counts separately, so two replicas halve
 * the time. An attacker who needs any one of a thousand sandboxes can guess at all of them.
 */
export const SANDBOX_FAILURE_LEAK_MS = 100;

/**
 * Maximum number of clients, sites and sandboxes remembered, each. Three full tables take 35 MB of heap; only an attack
 * fills them. One sandbox cannot: its budget allows 1,000 failures and then 10 a second, and a client that failed once
 * is forgotten after 6 s. Attacks on tens of sandboxes can. Then the clients with the fewest failures are forgotten
 * first.
 */
export const FAILURE_TABLE_MAX = 65_536;

/** Least time between two warnings, in milliseconds: during an attack each failure reaches the limit again. */
export const EXHAUSTED_WARNING_MS = 60_000;

/** Who checks a signature at which sandbox: the keys by which failures are counted. */
export interface Attempt {
  /** The sandbox's `metadata.uid`. */
  readonly sandboxUid: string;
  /** The client's address; from the peer's headers if the peer is one of `--trusted-proxies`. */
  readonly clientAddress: string;
  /**
   * The address at the other end of the connection. A client that a peer names has a separate budget for each peer.
   * Otherwise a peer that can name any client, such as a pod that a range of `--trusted-proxies` includes by mistake,
   * could use up that client's budget elsewhere.
   */
  readonly peerAddress: string;
}

/** Whose budget is used up. `client`: the budget of the client or of its /48. */
export type ThrottleScope = "client" | "sandbox";

/** A sandbox whose budget is used up. */
export interface SandboxExhausted {
  readonly sandboxUid: string;
  /** How often this happened, at any sandbox, since the last report. */
  readonly untold: number;
}

export interface FailureStats {
  /** Failed signature checks since the start. */
  readonly failures: number;
  /** Sandboxes whose budget is used up now. */
  readonly exhaustedSandboxes: number;
  /** Entries remembered now: at most `maxEntries` each. */
  readonly clients: number;
  readonly sites: number;
  readonly sandboxes: number;
}

export interface FailureLimiterOptions {
  /** Only its monotonic time is used. */
  readonly clock: Clock;
  /** Maximum number of clients, sites and sandboxes remembered, each. Default: `FAILURE_TABLE_MAX`. At least 1. */
  readonly maxEntries?: number;
  /** Called when a sandbox's budget is used up, at most once in `EXHAUSTED_WARNING_MS`. Exceptions are ignored. */
  readonly onSandboxExhausted?: (event: SandboxExhausted) => void;
}

/**
 * Counts failed signature checks in bounded memory; `LeakyBuckets` says what a full table does. Synchronous; never
 * throws.
 */
export class FailureLimiter {
  readonly #options: FailureLimiterOptions;
  readonly #clients: LeakyBuckets;
  readonly #sites: LeakyBuckets;
  readonly #sandboxes: LeakyBuckets;
  #failures = 0;
  #untold = 0;
  /** Monotonic time of the last report. */
  #toldAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: FailureLimiterOptions) {
    const { clock, maxEntries: maxBuckets = FAILURE_TABLE_MAX } = options;
    this.#options = options;
    this.#clients = new LeakyBuckets({ clock, maxBuckets, burst: FAILURE_BURST, leakMs: FAILURE_REFILL_MS });
    this.#sites = new LeakyBuckets({ clock, maxBuckets, burst: SITE_FAILURE_BURST, leakMs: SITE_FAILURE_LEAK_MS });
    this.#sandboxes = new LeakyBuckets({
      clock,
      maxBuckets,
      burst: SANDBOX_FAILURE_BURST,
      leakMs: SANDBOX_FAILURE_LEAK_MS,
    });
  }

  /** Whose budget is used up; then an unknown signature must not even be compared. Undefined: nobody's. */
  throttleOf(attempt: Attempt): ThrottleScope | undefined {
    if (this.#clients.size === 0) return undefined;
    const { client, site } = keysOf(attempt);
    if (this.#clients.isFull(client) || (site !== undefined && this.#sites.isFull(site))) return "client";
    return this.#sandboxes.isFull(attempt.sandboxUid) ? "sandbox" : undefined;
  }

  /** Counts one failure, for the client, its /48 and the sandbox. */
  record(attempt: Attempt): void {
    const { client, site } = keysOf(attempt);
    this.#failures++;
    this.#clients.add(client);
    if (site !== undefined) this.#sites.add(site);
    this.#sandboxes.add(attempt.sandboxUid);
    if (this.#sandboxes.isFull(attempt.sandboxUid)) this.#tellExhausted(attempt.sandboxUid);
  }

  /** Inspects each remembered sandbox: for metrics. */
  stats(): FailureStats {
    return {
      failures: this.#failures,
      exhaustedSandboxes: this.#sandboxes.countFull(),
      clients: this.#clients.size,
      sites: this.#sites.size,
      sandboxes: this.#sandboxes.size,
    };
  }

  #tellExhausted(sandboxUid: string): void {
    const nowMs = this.#options.clock.monotonic();
    if (nowMs - this.#toldAtMs < EXHAUSTED_WARNING_MS) {
      this.#untold++;
      return;
    }
    const untold = this.#untold;
    this.#toldAtMs = nowMs;
    this.#untold = 0;
    try {
      this.#options.onSandboxExhausted?.({ sandboxUid, untold });
    } catch {
      // A failed warning must not change the answer to the client.
    }
  }
}

function keysOf(attempt: Attempt): { readonly client: string; readonly site: string | undefined } {
  const { sandboxUid, clientAddress, peerAddress } = attempt;
  const { network, site } = clientNetworkOf(clientAddress);
  const place = `${sandboxUid}\n${peerAddress === clientAddress ? "" : peerAddress}\n`;
  return { client: place + network, site: site === undefined ? undefined : place + site };
}
