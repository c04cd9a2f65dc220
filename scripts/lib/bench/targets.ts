import type { ContenderName } from "./contenders.ts";
import { type CaseResult, type Metric, ratioOf } from "./measurement.ts";

/** A target for the ingress. */
interface Target {
  readonly title: string;
  readonly case: string;
  readonly metric: Metric;
  /** The ratio to this contender counts; undefined: the number itself. */
  readonly to?: ContenderName;
  /** Exactly one of these is set. */
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** A target with the measured value. */
export interface TargetResult {
  readonly title: string;
  readonly wanted: string;
  readonly found: string;
  readonly isMet: boolean;
}

const TARGETS: readonly Target[] = [
  { title: "GET 1 KB x 64, of nginx", case: "get-1k-64", metric: "perSecond", to: "nginx", atLeast: 0.55 },
  { title: "GET 1 KB x 64, of the bare forwarder", case: "get-1k-64", metric: "perSecond", to: "bare", atLeast: 0.95 },
  { title: "CPU of a small request, us", case: "get-1k-64", metric: "cpu", atMost: 45 },
  { title: "POST 256 B, of nginx", case: "post-256", metric: "perSecond", to: "nginx", atLeast: 0.6 },
  { title: "GET 1 MB x 16, of HAProxy", case: "get-1m-16", metric: "perSecond", to: "haproxy", atLeast: 1 },
  { title: "1 GB down, of HAProxy", case: "download-1g", metric: "perSecond", to: "haproxy", atLeast: 1 },
  { title: "1 GB up, of HAProxy", case: "upload-1g", metric: "perSecond", to: "haproxy", atLeast: 1 },
  { title: "WebSocket echo 64 B, of nginx", case: "echo-64", metric: "perSecond", to: "nginx", atLeast: 1 },
  { title: "WebSocket echo 16 KB, of HAProxy", case: "echo-16k", metric: "perSecond", to: "haproxy", atLeast: 1.2 },
  { title: "p99 at half load, of nginx", case: "half-load", metric: "p99Ms", to: "nginx", atMost: 2 },
  { title: "idle tunnel, KB", case: "idle-tunnels", metric: "kbEach", atMost: 20 },
  { title: "start to serving, ms", case: "start", metric: "startMs", atMost: 100 },
  { title: "idle memory, MB", case: "start", metric: "residentMb", atMost: 70 },
];

/** Compares with the targets of the cases that were measured. */
export function checkTargets(results: readonly CaseResult[]): readonly TargetResult[] {
  return TARGETS.flatMap((target) => {
    const result = results.find((each) => each.name === target.case);
    if (result === undefined) return [];
    const { to, metric, atLeast, atMost } = target;
    const own = result.contenders.find((each) => each.name === "ingress")?.medians[metric];
    const found = to === undefined ? own : ratioOf(result, { of: "ingress", to }, metric)?.median;
    if (found === undefined || Number.isNaN(found)) return [];
    return {
      title: target.title,
      wanted: atLeast === undefined ? `<= ${atMost}` : `>= ${atLeast}`,
      found: found.toFixed(2),
      isMet: found >= (atLeast ?? Number.NEGATIVE_INFINITY) && found <= (atMost ?? Number.POSITIVE_INFINITY),
    };
  });
}
