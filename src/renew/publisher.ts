import type { SandboxRecord } from "../sandbox/provider.ts";

/** One use of a sandbox, as the proxy sees it. It may be kept and offered again during the request. */
export interface SandboxUse {
  readonly record: SandboxRecord;
  readonly port: number;
  /** The forwarded path, never the query. */
  readonly path: string;
  /** Whether it renews: false for requests with `OpenSandbox-Access-Renew: skip`. */
  readonly renews: boolean;
}

/** Tells OpenSandbox, by renew intents (OSEP-0009) and notes of activity, that a sandbox is in use. */
export interface RenewPublisher {
  /** False: intents are discarded, so the caller can skip building them. */
  readonly listens: boolean;
  /**
   * Offers a renew intent. It is throttled per sandbox, added to a bounded queue, and published later or dropped.
   * Synchronous; never throws, never waits. A throttled offer takes under 0.1 µs, so it may be made for every chunk.
   *
   * The proxy offers one for every admitted request, and again for activity during the request: each chunk of a body
   * and each text or binary message of a tunnel, in either direction. An open but silent connection, pings, pongs and
   * TCP keep-alives are not activity: a client that only stays connected does not keep a sandbox alive. Events that a
   * sandbox sends in a stream by itself are activity.
   */
  offer(use: SandboxUse): void;
  /** Forgets the throttle state of a deleted sandbox. */
  forget(record: SandboxRecord): void;
  /** Starts connecting, without waiting for the connection. Rejects if the file with the address cannot be read. */
  start(): Promise<void>;
  /** Publishes the queued intents within `flushMaxMs`, then closes. Idempotent. */
  stop(flushMaxMs: number): Promise<void>;
}

/** The publisher if renewing is off: `--renew-intent-enabled=false`. */
export const noRenewPublisher: RenewPublisher = {
  listens: false,
  offer() {},
  forget() {},
  start: () => Promise.resolve(),
  stop: () => Promise.resolve(),
};
