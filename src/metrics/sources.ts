import type { ProxyMetrics } from "./proxy-metrics.ts";

/** What other parts count themselves: read when metrics are scraped or pushed. All of it is optional. */
export interface MetricsSources {
  /** Sandboxes by state. */
  readonly sandboxCounts?: () => { readonly ready: number; readonly notReady: number; readonly ambiguous: number };
  /** Pairs of sandboxes that took each other off line. */
  readonly namesakes?: () => number;
  readonly providerStatus?: () => { readonly synced: boolean; readonly ageMs: number };
  /** Absent: renewing is off. `failed` counts attempts, `queued` is what waits now, `healthy` how the last attempt ended. */
  readonly renewIntents?: () => {
    readonly published: number;
    readonly dropped: number;
    readonly throttled: number;
    readonly failed: number;
    readonly queued: number;
    readonly healthy: boolean;
  };
  readonly droppedLogLines?: () => number;
  /** In bytes. `held`: what the proxy's account holds for requests; undefined: nobody counts it. */
  readonly memory?: () => { readonly limit: number; readonly budget: number; readonly held?: number | undefined };
  /** File descriptors, and what their shortage led to since the start; undefined: the system does not tell. */
  readonly descriptors?: () =>
    | {
        readonly open: number;
        readonly limit: number;
        readonly shortages: number;
        readonly exhaustions: number;
        readonly idleClosed: number;
      }
    | undefined;
  /** Exceptions and rejections that belong to no request. */
  readonly internalFaults?: () => number;
  /** Signatures that failed, and the sandboxes whose budget of failures is used up now. */
  readonly accessFailures?: () => { readonly failures: number; readonly exhaustedSandboxes: number };
}

/** The process's own use of resources: only the process edge can tell. */
export interface ProcessProbe {
  /** Processor time since the start, all threads, user and system, in milliseconds. */
  cpuMs(): number;
  /** Resident memory in bytes. */
  residentBytes(): number;
  /** Collects garbage and gives free memory back to the system. Stops the event loop for tens of milliseconds. */
  collectGarbage(): void;
}

/** All metrics of the program: what the proxy reports into, and what is scraped. */
export interface Metrics extends ProxyMetrics {
  /** Connects parts that count themselves; those given later replace those given before. */
  observe(sources: MetricsSources): void;
  /** Everything in Prometheus' text form 0.0.4, names beginning with `opensandbox_`. Works until the process ends. */
  scrape(): Promise<string>;
  /** Pushes a last time where pushing is on, at most for `METRICS_FLUSH_MAX_MS`, and stops all timers. Never rejects. */
  stop(): Promise<void>;
}
