import type { LifecyclePhase } from "../lifecycle.ts";
import type { Activity, MetricsSources } from "../metrics/metrics.ts";
import type { HealthCheck } from "./health.ts";
import { formatTime } from "./parameters.ts";

/** Where the top of the dashboard comes from. Each part is asked at each question. */
export interface StatusParts {
  readonly about: {
    readonly version: string;
    readonly commit: string;
    readonly instance: string;
    readonly mode: string;
    readonly provider: string;
    /** Wall-clock milliseconds. */
    readonly startedAtMs: number;
  };
  readonly now: () => number;
  readonly phase: () => LifecyclePhase;
  readonly checks: () => readonly HealthCheck[];
  readonly activity: () => Activity;
  /** Requests and WebSockets that are open. */
  readonly inFlight: () => number;
  readonly residentBytes: () => number | undefined;
  readonly sources: Pick<
    MetricsSources,
    | "sandboxCounts"
    | "namesakes"
    | "waits"
    | "providerStatus"
    | "renewIntents"
    | "memory"
    | "descriptors"
    | "accessFailures"
  >;
}

/** The answer of `/debug/status`. */
export type Status = ReturnType<typeof describeStatus>;

/** What the top of a dashboard shows. Cheap: it asks for numbers that are kept. */
export function describeStatus(parts: StatusParts) {
  const { about, sources } = parts;
  const activity = parts.activity();
  const redis = sources.renewIntents?.();
  const memory = sources.memory?.();
  const waits = sources.waits?.();
  const now = parts.now();
  return {
    version: about.version,
    commit: about.commit,
    instance: about.instance,
    mode: about.mode,
    provider: about.provider,
    time: formatTime(now),
    startedAt: formatTime(about.startedAtMs),
    phase: parts.phase(),
    checks: parts.checks(),
    traffic: {
      windowMs: Math.round(activity.windowMs),
      requestsPerSecond: round(activity.requestsPerSecond),
      failedPerSecond: round(activity.failedPerSecond),
      p50Ms: round(activity.p50Ms),
      p99Ms: round(activity.p99Ms),
      requests: activity.requests,
      open: parts.inFlight(),
      tunnels: activity.tunnels,
      held: waits?.held,
      statuses: activity.statuses,
      refusals: activity.refusals,
      history: activity.history,
    },
    eventLoop: { p50Ms: round(activity.eventLoopDelayP50Ms), p99Ms: round(activity.eventLoopDelayP99Ms) },
    memory: {
      heldBytes: memory?.held,
      budgetBytes: memory?.budget,
      limitBytes: memory?.limit,
      residentBytes: parts.residentBytes(),
    },
    descriptors: sources.descriptors?.(),
    sandboxes: {
      ...sources.sandboxCounts?.(),
      namesakes: sources.namesakes?.(),
      waking: waits?.waking,
      ...sources.providerStatus?.(),
    },
    access: sources.accessFailures?.(),
    /** Absent: renewing is off. */
    redis,
  };
}

/** Three digits behind the point are all that mean something. */
function round<T extends number | undefined>(value: T): T | number {
  return value === undefined ? value : Math.round(value * 1_000) / 1_000;
}
