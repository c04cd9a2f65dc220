import type { ProxyMetrics } from "./proxy-metrics.ts";

/** What other parts count themselves: read when metrics are scraped or pushed. All of it is optional. */
export interface MetricsSources {
  /** Sandboxes by state. */
  readonly sandboxCounts?: () => { readonly ready: number; readonly notReady: number; readonly ambiguous: number };
  /** Pairs of sandboxes that took each other off line. */
  readonly namesakes?: () => number;
  /** Requests that wait for their sandboxes now, and sandboxes that are being woken. */
  readonly waits?: () => { readonly held: number; readonly waking: number };
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
  /** Notes of the last use of sandboxes; undefined: nothing is told of that. */
  readonly activityNotes?: () => { readonly written: number; readonly dropped: number } | undefined;
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

/** A counter with its name, and how much of it came of late. */
export interface RecentCount {
  readonly name: string;
  readonly total: number;
  readonly recent: number;
}

/** What the proxy did of late and since its start. */
export interface Activity {
  /** How far "of late" reaches back, in milliseconds. */
  readonly windowMs: number;
  /** Requests and WebSockets that ended, and those with a status from 500 on, for each second of late. */
  readonly requestsPerSecond: number;
  readonly failedPerSecond: number;
  /** Durations of requests of late, WebSockets left out; undefined: none ended. */
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
  /** Requests and WebSockets that ended since the start. */
  readonly requests: number;
  /** Requests and WebSockets that are open, and the WebSockets among them. */
  readonly open: number;
  readonly tunnels: number;
  /** By status; those beyond a fixed list by their class (`2xx`). */
  readonly statuses: readonly RecentCount[];
  /** By code. */
  readonly refusals: readonly RecentCount[];
  readonly eventLoopDelayP50Ms: number | undefined;
  readonly eventLoopDelayP99Ms: number | undefined;
  /** What ended in each of the last seconds, at most 60, the newest last. */
  readonly history: readonly { readonly requests: number; readonly failed: number }[];
}

/** All metrics of the program: what the proxy reports into, and what is scraped. */
export interface Metrics extends ProxyMetrics {
  /** Connects parts that count themselves; those given later replace those given before. */
  observe(sources: MetricsSources): void;
  /** What happened of late. */
  activity(): Activity;
  /** Everything in Prometheus' text form 0.0.4, names beginning with `opensandbox_`. Works until the process ends. */
  scrape(): Promise<string>;
  /** Pushes a last time where pushing is on, at most for `METRICS_FLUSH_MAX_MS`, and stops all timers. Never rejects. */
  stop(): Promise<void>;
}
