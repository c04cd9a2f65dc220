import type { Clock } from "../clock.ts";
import { clientNetworkOf } from "../address.ts";
import { LeakyBuckets } from "./leaky-buckets.ts";

/** Failed signature checks that a client may make at a sandbox at once: a page of stale links must not lock its reader out. */
export const FAILURE_BURST = 20;

/**
 * Milliseconds after which a client may fail once more: ten failures a minute. Below the `Retry-After` of the refusal,
 * 10 s, so that a client that heeds it is heard again. This slows one client only; who has many addresses is slowed by
 * `SANDBOX_FAILURE_LEAK_MS`.
 */
export const FAILURE_REFILL_MS = 6_000;

/**
 * Failures that all clients of one IPv6 /48 may make at a sandbox at once: ten times what one client may. A /48 is one
 * site (RFC 6177 §2), or a part of a mobile network where each subscriber has a /64: several readers with stale links
 * must have room beside each other. But any hoster gives a whole one, 65,536 times a /64, to one customer.
 */
export const SITE_FAILURE_BURST = 10 * FAILURE_BURST;

/** Milliseconds after which a /48 may fail once more: a hundred failures a minute, a sixth of what a sandbox takes from all. */
export const SITE_FAILURE_LEAK_MS = FAILURE_REFILL_MS / 10;

/** Failures that all clients together may make at a sandbox at once: fifty clients with stale links, each at its limit. */
export const SANDBOX_FAILURE_BURST = 1_000;

/**
 * Milliseconds after which a sandbox takes one more failure: ten a second from all clients together, however many
 * addresses they have. That is the real bound of guessing: half of the 2^32 signatures of one route take 2^31 / 10 s, or
 * 6.8 years; a year of it finds one with a chance of 7 %. Each replica counts for itself, so that two halve the time;
 * and who is content with any one of a thousand sandboxes may guess at each of them.
 */
export const SANDBOX_FAILURE_LEAK_MS = 100;

/**
 * Clients, sites and sandboxes remembered, each. Three full tables are 35 MB of heap, which only an attack can bring
 * about. One sandbox cannot fill it: its budget lets through 1,000 failures and then 10 a second, and a client
 * that failed once is forgotten after 6 s. Tens of attacked sandboxes can; then clients that failed least are forgotten first.
 */
export const FAILURE_TABLE_MAX = 65_536;

/** Least time between two warnings, in milliseconds: an attack lasts, and each failure of it reaches the limit anew. */
export const EXHAUSTED_WARNING_MS = 60_000;

/** Who checks a signature at which sandbox: what failures are counted by. */
export interface Attempt {
  /** The sandbox's `metadata.uid`. */
  readonly sandboxUid: string;
  /** As the peer tells it, where it is one of `--trusted-proxies`. */
  readonly clientAddress: string;
  /**
   * Who is at the other end of the connection. A client that is told of by a peer has a budget of its own for each
   * peer: who can name any client, like a pod that a range of `--trusted-proxies` holds by mistake, cannot use up the
   * budget that this client has elsewhere.
   */
  readonly peerAddress: string;
}

/** Whose budget is used up. `client`: the client's own, or that of its /48. */
export type ThrottleScope = "client" | "sandbox";

/** Told of a sandbox whose budget is used up. */
export interface SandboxExhausted {
  readonly sandboxUid: string;
  /** How often the same happened, at any sandbox, since it was told of last. */
  readonly untold: number;
}

export interface FailureStats {
  /** Failed signature checks since the start. */
  readonly failures: number;
  /** Sandboxes whose budget is used up now. */
  readonly exhaustedSandboxes: number;
  /** What is remembered now: at most `maxEntries` each. */
  readonly clients: number;
  readonly sites: number;
  readonly sandboxes: number;
}

/** Counts failed signature checks. Synchronous; never throws. */
export interface FailureLimiter {
  /** Whose budget is used up, so that a signature that is not known must not even be compared; undefined: nobody's. */
  throttleOf(attempt: Attempt): ThrottleScope | undefined;
  /** Counts one failure, for the client, its /48 and the sandbox. */
  record(attempt: Attempt): void;
  /** Takes a look at each sandbox that failed of late: for metrics. */
  stats(): FailureStats;
}

export interface FailureLimiterOptions {
  /** Only its monotonic time is used. */
  readonly clock: Clock;
  /** Clients, sites and sandboxes remembered, each. Default: `FAILURE_TABLE_MAX`. At least 1. */
  readonly maxEntries?: number;
  /** Called when a sandbox's budget is used up, at most once in `EXHAUSTED_WARNING_MS`. What it throws is dropped. */
  readonly onSandboxExhausted?: (event: SandboxExhausted) => void;
}

/** Creates a limiter in bounded memory; see `LeakyBuckets` for what a full table does. */
export function createFailureLimiter(options: FailureLimiterOptions): FailureLimiter {
  return new LeakyFailureLimiter(options);
}

class LeakyFailureLimiter implements FailureLimiter {
  readonly #options: FailureLimiterOptions;
  readonly #clients: LeakyBuckets;
  readonly #sites: LeakyBuckets;
  readonly #sandboxes: LeakyBuckets;
  #failures = 0;
  #untold = 0;
  /** Monotonic time of the last warning. */
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

  throttleOf(attempt: Attempt): ThrottleScope | undefined {
    if (this.#clients.size === 0) return undefined;
    const { client, site } = keysOf(attempt);
    if (this.#clients.isFull(client) || (site !== undefined && this.#sites.isFull(site))) return "client";
    return this.#sandboxes.isFull(attempt.sandboxUid) ? "sandbox" : undefined;
  }

  record(attempt: Attempt): void {
    const { client, site } = keysOf(attempt);
    this.#failures++;
    this.#clients.add(client);
    if (site !== undefined) this.#sites.add(site);
    this.#sandboxes.add(attempt.sandboxUid);
    if (this.#sandboxes.isFull(attempt.sandboxUid)) this.#tellExhausted(attempt.sandboxUid);
  }

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
      // A warning that cannot be given must not change what the client is told.
    }
  }
}

function keysOf(attempt: Attempt): { readonly client: string; readonly site: string | undefined } {
  const { sandboxUid, clientAddress, peerAddress } = attempt;
  const { network, site } = clientNetworkOf(clientAddress);
  const place = `${sandboxUid}\n${peerAddress === clientAddress ? "" : peerAddress}\n`;
  return { client: place + network, site: site === undefined ? undefined : place + site };
}
