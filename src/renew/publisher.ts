import type { SandboxRecord } from "../sandbox/provider.ts";

/** One use of a sandbox, as seen by the proxy. May be kept and offered again while the request lasts. */
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
  /** False: nobody is told, whatever is offered, so that nothing need be. */
  readonly listens: boolean;
  /**
   * Offers a renew intent: throttled per sandbox, put into a bounded queue, published later or dropped.
   * Synchronous, never throws, never waits; under 0.1 µs when throttled, so it may be called for every chunk.
   *
   * Called for every admitted request, and again for activity while it lasts: each chunk of a request's or an answer's body, each
   * text or binary message of a tunnel, in either direction. No activity are an open but silent connection, pings and pongs, and
   * TCP keep-alives: a client that merely stays connected does not keep a sandbox alive. Events that a sandbox sends by itself in a
   * stream are bytes like any other.
   */
  offer(use: SandboxUse): void;
  /** Forgets the throttle state of a sandbox that is gone. */
  forget(record: SandboxRecord): void;
  /** Begins to connect, and waits for no connection. Rejects when a file that has the address cannot be read. */
  start(): Promise<void>;
  /** Publishes what is queued within `flushMaxMs`, then closes. Idempotent. */
  stop(flushMaxMs: number): Promise<void>;
}

/** Renewing is off: `--renew-intent-enabled=false`. */
export const noRenewPublisher: RenewPublisher = {
  listens: false,
  offer() {},
  forget() {},
  start: () => Promise.resolve(),
  stop: () => Promise.resolve(),
};
