import type { ContenderName } from "./contender-names.ts";
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
  /** With the comparison, and the contender that it is a part of: `>= 0.55 of nginx`. */
  readonly wanted: string;
  readonly found: string;
  /** What the bare forwarder has of the original target; empty if it was not measured. */
  readonly bare: string;
  /** The bare forwarder misses the target itself, so that a part of the bare forwarder is wanted. */
  readonly fallsBack: boolean;
  readonly isMet: boolean;
}

/** Of the bare forwarder, where that misses the target itself: what Bun cannot do, the ingress cannot either. */
const OF_BARE = 0.95;

/** What the ingress has to reach. */
export const TARGETS: readonly Target[] = [
  { title: "1,000 sandboxes in turn", case: "sandboxes-1000", metric: "perSecond", to: "nginx", atLeast: 0.55 },
  { title: "GET 1 KB, 512 connections", case: "get-1k-512", metric: "perSecond", to: "nginx", atLeast: 0.5 },
  { title: "GET 1 KB, 64 connections", case: "get-1k-64", metric: "perSecond", to: "nginx", atLeast: 0.55 },
  { title: "POST 256 B", case: "post-256", metric: "perSecond", to: "nginx", atLeast: 0.6 },
  { title: "WebSocket echo 64 B", case: "echo-64", metric: "perSecond", to: "nginx", atLeast: 1 },
  { title: "GET 1 MB, 16 connections", case: "get-1m-16", metric: "perSecond", to: "haproxy", atLeast: 0.9 },
  { title: "1 GB down", case: "download-1g", metric: "perSecond", to: "haproxy", atLeast: 1 },
  { title: "1 GB up", case: "upload-1g", metric: "perSecond", to: "haproxy", atLeast: 1 },
  { title: "WebSocket echo 16 KB", case: "echo-16k", metric: "perSecond", to: "haproxy", atLeast: 1.1 },
  { title: "p99 at half load", case: "half-load", metric: "p99Ms", to: "nginx", atMost: 2 },
  { title: "CPU of a small request, µs", case: "get-1k-64", metric: "cpu", atMost: 40 },
  { title: "idle WebSocket, KB", case: "idle-tunnels", metric: "kbEach", atMost: 20 },
  { title: "start to serving, ms", case: "start", metric: "startMs", atMost: 100 },
  { title: "idle memory, MB", case: "start", metric: "residentMb", atMost: 70 },
];

/** Metrics whose smaller value is the better one. Memory and processor time of the Go ingress are no targets. */
const SMALLER_IS_BETTER: ReadonlySet<Metric> = new Set(["p99Ms", "startMs"]);
const SPEEDS: ReadonlySet<Metric> = new Set(["perSecond", ...SMALLER_IS_BETTER]);

/** Compares with the targets of the cases that were measured, and with the Go ingress in every case that it was in. */
export function checkTargets(results: readonly CaseResult[]): readonly TargetResult[] {
  const own = TARGETS.flatMap((target) => {
    const result = results.find((each) => each.name === target.case);
    return result === undefined ? [] : checkTarget(target, result);
  });
  return [...own, ...results.flatMap((result) => checkAgainstGo(result))];
}

function checkTarget(target: Target, result: CaseResult): readonly TargetResult[] {
  const { title, metric } = target;
  const found = valueOf("ingress", target, result);
  const bare = valueOf("bare", target, result);
  if (found === undefined) return [];
  const bareText = bare === undefined ? "" : formatValue(bare);
  const ofBare = ratioOf(result, { of: "ingress", to: "bare" }, metric)?.median;
  if (isWithin(found, target) || bare === undefined || isWithin(bare, target) || ofBare === undefined) {
    const isMet = isWithin(found, target);
    return [{ title, wanted: describe(target), found: formatValue(found), bare: bareText, fallsBack: false, isMet }];
  }
  const limit = target.atMost === undefined ? { atLeast: OF_BARE } : { atMost: 1 / OF_BARE };
  return [
    {
      title,
      wanted: `${describe({ ...limit, to: "bare" })} (${describe(target)})`,
      found: `${formatValue(ofBare)} (${formatValue(found)})`,
      bare: bareText,
      fallsBack: true,
      isMet: isWithin(ofBare, limit),
    },
  ];
}

function checkAgainstGo(result: CaseResult): readonly TargetResult[] {
  const { title, compared: metric } = result;
  if (!SPEEDS.has(metric)) return [];
  const target = { to: "go", metric, ...(SMALLER_IS_BETTER.has(metric) ? { atMost: 1 } : { atLeast: 1 }) } as const;
  const found = valueOf("ingress", target, result);
  if (found === undefined) return [];
  const isMet = isWithin(found, target);
  return [{ title, wanted: describe(target), found: formatValue(found), bare: "", fallsBack: false, isMet }];
}

function valueOf(
  name: ContenderName,
  { to, metric }: Pick<Target, "to" | "metric">,
  result: CaseResult,
): number | undefined {
  const value =
    to === undefined
      ? result.contenders.find((each) => each.name === name)?.medians[metric]
      : ratioOf(result, { of: name, to }, metric)?.median;
  return value === undefined || Number.isNaN(value) ? undefined : value;
}

type Limit = Pick<Target, "atLeast" | "atMost">;

function isWithin(value: number, { atLeast, atMost }: Limit): boolean {
  return value >= (atLeast ?? Number.NEGATIVE_INFINITY) && value <= (atMost ?? Number.POSITIVE_INFINITY);
}

const SHOWN_NAMES: Readonly<Partial<Record<ContenderName, string>>> = {
  haproxy: "HAProxy",
  go: "the Go ingress",
  bare: "the forwarder",
};

function describe({ atLeast, atMost, to }: Pick<Target, "to"> & Limit): string {
  const limit = atLeast === undefined ? `≤ ${formatValue(atMost ?? Number.NaN)}` : `≥ ${formatValue(atLeast)}`;
  return to === undefined ? limit : `${limit} of ${SHOWN_NAMES[to] ?? to}`;
}

function formatValue(value: number): string {
  return value >= 10 ? value.toFixed(0) : value.toFixed(2);
}
