import { TokenBucket } from "./token-bucket.ts";

/**
 * All tunnels of one sandbox together, and all of one client, get this many times the rate of one direction of one
 * tunnel: enough for 32 tunnels at full rate in both directions. A client may be a load balancer for many people.
 */
const SUM_FACTOR = 64;

/** After a quiet time, the frames of this many seconds may pass at once. */
const BURST_SECONDS = 1;

/** The sandbox and the client whose rates count the frames of a tunnel. */
export interface FramePayers {
  readonly sandboxUid: string;
  /** As `clientNetworkOf` returns it. */
  readonly clientNetwork: string;
}

/** The rates of one tunnel. */
export interface TunnelFrameRates {
  /**
   * Each frame of this direction counts against the rates of the tunnel, the sandbox and the client, or against none of
   * them.
   */
  readonly fromClient: FrameRate;
  readonly fromSandbox: FrameRate;
  /** The tunnel has ended. Called once. */
  leave(): void;
}

/** One direction of one tunnel. */
export interface FrameRate {
  tryTake(nowMs: number): boolean;
}

/** The rates of all tunnels (`--websocket-frame-rate`). */
export interface FrameRates {
  join(payers: FramePayers, nowMs: number): TunnelFrameRates;
  /** Forgets sums that nobody uses and that are full again. */
  sweep(nowMs: number): void;
  /** How many sums are kept: at most two for each tunnel that is open or was open a second ago. */
  readonly size: number;
}

interface Sum {
  readonly bucket: TokenBucket;
  users: number;
}

const UNLIMITED: FrameRate = { tryTake: () => true };

/** @param perSecond Frames per second in one direction of one tunnel; 0: no limit. */
export function createFrameRates(perSecond: number): FrameRates {
  const sandboxes = new Map<string, Sum>();
  const clients = new Map<string, Sum>();
  const one = { perSecond, burst: perSecond * BURST_SECONDS };
  const sum = { perSecond: perSecond * SUM_FACTOR, burst: perSecond * SUM_FACTOR * BURST_SECONDS };
  const use = (sums: Map<string, Sum>, key: string, nowMs: number): Sum => {
    let known = sums.get(key);
    if (known === undefined) sums.set(key, (known = { bucket: new TokenBucket(sum, nowMs), users: 0 }));
    known.users++;
    return known;
  };
  return {
    get size() {
      return sandboxes.size + clients.size;
    },
    join({ sandboxUid, clientNetwork }, nowMs) {
      if (perSecond === 0) return { fromClient: UNLIMITED, fromSandbox: UNLIMITED, leave: () => {} };
      const sandbox = use(sandboxes, sandboxUid, nowMs);
      const client = use(clients, clientNetwork, nowMs);
      const direction = (): FrameRate => new SharedRate(new TokenBucket(one, nowMs), sandbox.bucket, client.bucket);
      return {
        fromClient: direction(),
        fromSandbox: direction(),
        leave() {
          sandbox.users--;
          client.users--;
        },
      };
    },
    sweep(nowMs) {
      for (const sums of [sandboxes, clients]) {
        for (const [key, { users, bucket }] of sums) if (users === 0 && bucket.isFull(nowMs)) sums.delete(key);
      }
    },
  };
}

class SharedRate implements FrameRate {
  readonly #own: TokenBucket;
  readonly #sandbox: TokenBucket;
  readonly #client: TokenBucket;

  constructor(own: TokenBucket, sandbox: TokenBucket, client: TokenBucket) {
    this.#own = own;
    this.#sandbox = sandbox;
    this.#client = client;
  }

  tryTake(nowMs: number): boolean {
    if (!this.#own.has(nowMs) || !this.#sandbox.has(nowMs) || !this.#client.has(nowMs)) return false;
    this.#own.take();
    this.#sandbox.take();
    this.#client.take();
    return true;
  }
}
