import type { ByteCounts, ProxyMetrics, ProxyType } from "./proxy-metrics.ts";

/** Counts that other parts keep. They are read when metrics are scraped or pushed. All are optional. */
export interface MetricsSources {
  /** Sandboxes by state. */
  readonly sandboxCounts?: () => { readonly ready: number; readonly notReady: number; readonly ambiguous: number };
  /** Pairs of sandboxes that share an id and so make each other unreachable. */
  readonly namesakes?: () => number;
  /** Requests that wait for their sandboxes now, and sandboxes that are being woken. */
  readonly waits?: () => { readonly held: number; readonly waking: number };
  readonly providerStatus?: () => {
    readonly synced: boolean;
    readonly ageMs: number;
    /** Missing: there is none. */
    readonly fault?: string | undefined;
  };
  /** What open exchanges have moved so far. */
  readonly openBytes?: () => Readonly<Record<ProxyType, ByteCounts>>;
  /** Lists and watches of an API server, by reason; the reasons are a fixed set. Undefined: there is none. */
  readonly watching?: () =>
    | {
        readonly lists: Readonly<Record<string, number>>;
        readonly watchEnds: Readonly<Record<string, number>>;
      }
    | undefined;
  /**
   * Missing if renewing is off. `failed` counts attempts, `queued` is the number waiting now, `healthy` is the result
   * of the last attempt.
   */
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
  /** Spans of traces since the start; undefined: traces are off. */
  readonly spans?: () => { readonly exported: number; readonly dropped: number; readonly failed: number } | undefined;
  readonly droppedLogLines?: () => number;
  /** In bytes. `held`: the memory in the proxy's account of requests; undefined if nobody counts it. */
  readonly memory?: () => { readonly limit: number; readonly budget: number; readonly held?: number | undefined };
  /** File descriptors, and the effects of their shortage since the start; undefined if the system does not tell. */
  readonly descriptors?: () =>
    | {
        readonly open: number;
        readonly limit: number;
        readonly shortages: number;
        readonly exhaustions: number;
        readonly idleClosed: number;
      }
    | undefined;
  /**
   * The certificate of the port with TLS; undefined: there is no such port. `validFromMs` and `validToMs`: wall-clock
   * milliseconds, when it begins and ends to be valid. `renewals` and `failures`: changes of its files that were used,
   * and that could not be used.
   */
  readonly certificate?: () =>
    | {
        readonly validFromMs: number | undefined;
        readonly validToMs: number | undefined;
        readonly renewals: number;
        readonly failures: number;
      }
    | undefined;
  /** Exceptions and rejections that belong to no request. */
  readonly internalFaults?: () => number;
  /** Wrong signatures, and the sandboxes whose budget of failures is used up now. */
  readonly accessFailures?: () => { readonly failures: number; readonly exhaustedSandboxes: number };
}

/** The process's own use of resources. Only the process edge can read it. */
export interface ProcessProbe {
  /** Processor time since the start in milliseconds: all threads, user and system. */
  cpuMs(): number;
  /** Resident memory in bytes. */
  residentBytes(): number;
  /** Collects garbage and returns free memory to the system. Stops the event loop for tens of milliseconds. */
  collectGarbage(): void;
}

/** A counter with its name, its total and its recent part. */
export interface RecentCount {
  readonly name: string;
  readonly total: number;
  readonly recent: number;
}

/** What the proxy did recently and since its start. */
export interface Activity {
  /** Length of the recent window, in milliseconds. */
  readonly windowMs: number;
  /** Requests and WebSockets that ended, and those with a status of 500 or more, per second in the recent window. */
  readonly requestsPerSecond: number;
  readonly failedPerSecond: number;
  /** Durations of recent requests, without WebSockets; undefined: none ended. */
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

/** All metrics of the program: for the proxy's reports, and for scraping. */
export interface Metrics extends ProxyMetrics {
  /** Adds sources. A later source replaces an earlier one of the same name. */
  observe(sources: MetricsSources): void;
  /** What happened recently. */
  activity(): Activity;
  /**
   * All metrics in Prometheus' text format 0.0.4, with names that begin with `opensandbox_`. Works until the process
   * ends.
   */
  scrape(): Promise<string>;
  /** Pushes one last time if pushing is on, for at most `METRICS_FLUSH_MAX_MS`, and stops all timers. Never rejects. */
  stop(): Promise<void>;
}
