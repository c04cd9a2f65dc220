import type { SandboxRecord } from "../sandbox/provider.ts";

/** One use of a sandbox, as seen by the proxy. */
export interface SandboxUse {
  readonly record: SandboxRecord;
  readonly port: number;
  /** The forwarded path, never the query. */
  readonly path: string;
}

/** Tells OpenSandbox that a sandbox is in use (OSEP-0009). */
export interface RenewPublisher {
  /**
   * Offers a renew intent: throttled per sandbox, put into a bounded queue, published later or dropped.
   * Synchronous, never throws, never waits.
   */
  offer(use: SandboxUse): void;
  /** Forgets the throttle state of a sandbox that is gone. */
  forget(record: SandboxRecord): void;
  /** Begins to connect; resolves at once. */
  start(): Promise<void>;
  /** Publishes what is queued within `flushMaxMs`, then closes. Idempotent. */
  stop(flushMaxMs: number): Promise<void>;
}

/** Renewing is off: `--renew-intent-enabled=false`. */
export const noRenewPublisher: RenewPublisher = {
  offer() {},
  forget() {},
  start: () => Promise.resolve(),
  stop: () => Promise.resolve(),
};
