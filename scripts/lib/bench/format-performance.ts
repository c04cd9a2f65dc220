import type { ContenderName } from "./contender-names.ts";
import type { LimitsResult } from "./limits-results.ts";
import type { Machine } from "./machine.ts";
import { formatMarkdownTable, wrapText } from "./markdown.ts";
import type { CaseResult, ContenderResult, Metric } from "./measurement.ts";
import type { BenchResults } from "./results.ts";
import { checkTargets } from "./targets.ts";

/** What docs/performance.json holds; each part comes from a run of its own. */
export interface Performance {
  readonly bench?: BenchResults;
  readonly limits?: LimitsResult;
}

const NOT_MEASURED = "Not measured yet.";

/** The columns, in this order, as far as any case has them. */
const COLUMNS: readonly (readonly [name: ContenderName, title: string])[] = [
  ["ingress", "ingress"],
  ["bare", "forwarder"],
  ["nginx", "nginx"],
  ["haproxy", "HAProxy"],
  ["caddy", "Caddy"],
  ["go", "Go ingress"],
  ["upstream", "upstream"],
];

/**
 * Replaces each part of the document between `<!-- NAME -->` and `<!-- /NAME -->` by what the results give. The rest is
 * written by hand. Throws if a part has no place.
 */
export function formatPerformanceDocument(document: string, performance: Performance): string {
  const parts = { bench: formatBench(performance.bench), limits: formatLimits(performance.limits) };
  let text = document;
  for (const [name, part] of Object.entries(parts)) {
    const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
    const [from, to] = [text.indexOf(begin), text.indexOf(end)];
    if (from < 0 || to < from) throw new Error(`Cannot write the results: no ${begin} … ${end} in the document`);
    text = `${text.slice(0, from + begin.length)}\n\n${part}\n\n${text.slice(to)}`;
  }
  return text;
}

function formatBench(results: BenchResults | undefined): string {
  if (results === undefined) return NOT_MEASURED;
  const { cases, seconds, machine } = results;
  const rounds = Math.min(...cases.flatMap(({ contenders }) => contenders.map((each) => each.rounds.length)));
  const compared = cases.filter(({ contenders }) => !contenders.some(({ name }) => name === "policy"));
  return [
    wrapText(`${describeMachine(machine)} The values are medians of ${rounds} rounds of ${seconds} s.`),
    "### Targets",
    formatTargets(cases),
    "### Speed",
    table(compared, (result) => [[result.title, result.compared]]),
    "### Processor time of one request, message or gigabyte",
    table(
      compared.filter((result) => result.compared === "perSecond"),
      (result) => [[result.title, "cpu"]],
    ),
    "### Memory",
    table(compared, memoryRows),
    "### A policy of nine annotations",
    formatPolicy(cases),
  ].join("\n\n");
}

function describeMachine({ date, processor, cores, memoryGb, kernel, versions }: Machine): string {
  const programs = Object.entries(versions).map(([name, version]) => `${SHOWN_PROGRAMS[name] ?? name} ${version}`);
  return (
    `Measured on ${date.slice(0, 10)} on ${cores} cores (${processor}) with ${memoryGb} GB, which also ran load and ` +
    `upstream; Linux ${kernel.split("-")[0]}, ${programs.join(", ")}.`
  );
}

const SHOWN_PROGRAMS: Readonly<Record<string, string>> = {
  bun: "Bun",
  haproxy: "HAProxy",
  caddy: "Caddy",
  ingress: "OpenSandbox Ingress",
};

function formatTargets(cases: readonly CaseResult[]): string {
  const targets = checkTargets(cases);
  if (targets.length === 0) return NOT_MEASURED;
  const rows = targets.map(({ title, wanted, found, bare, isMet }) => [
    title,
    wanted,
    found,
    bare,
    isMet ? "met" : "**missed**",
  ]);
  return formatMarkdownTable([["", "wanted", "found", "forwarder", ""], ...rows]);
}

function memoryRows({ name, title }: CaseResult): readonly Row[] {
  if (name === "event-streams") return [["2,000 event streams: of each", "kbEach"]];
  if (name === "start") return [["idle", "residentMb"]];
  return name === "idle-tunnels" ? [[`${title}: of each`, "kbEach"]] : [];
}

type Row = readonly [title: string, metric: Metric];

function table(cases: readonly CaseResult[], rowsOf: (result: CaseResult) => readonly Row[]): string {
  const rows = cases.flatMap((result) => rowsOf(result).map(([title, metric]) => ({ result, title, metric })));
  if (rows.length === 0) return NOT_MEASURED;
  const columns = COLUMNS.filter(([name]) =>
    rows.some(({ result, metric }) => !Number.isNaN(valueOf(result, name, metric))),
  );
  return formatMarkdownTable([
    ["", ...columns.map(([, title]) => title)],
    ...rows.map(({ result, title, metric }) => [
      metric === "perSecond" || metric === "p99Ms" ? `${title}: ${unitOf(result)}` : title,
      ...columns.map(([name]) => formatValue(valueOf(result, name, metric), metric, result)),
    ]),
  ]);
}

function valueOf(result: CaseResult, name: ContenderName, metric: Metric): number {
  const found: ContenderResult | undefined = result.contenders.find((each) => each.name === name);
  return found?.medians[metric] ?? Number.NaN;
}

function unitOf({ compared, unit }: CaseResult): string {
  if (compared === "p99Ms") return "p99";
  return unit === "GB" ? "GB/s" : "/s";
}

const UNITS: Readonly<Partial<Record<Metric, string>>> = {
  p50Ms: " ms",
  p99Ms: " ms",
  startMs: " ms",
  residentMb: " MB",
  kbEach: " KB",
};

function formatValue(value: number, metric: Metric, { unit }: CaseResult): string {
  if (Number.isNaN(value)) return "";
  const suffix = metric === "cpu" ? (unit === "GB" ? " s" : " µs") : (UNITS[metric] ?? "");
  return `${formatNumber(value)}${suffix}`;
}

/** Three digits: rounds differ in the second one. */
export function formatNumber(value: number): string {
  return Number(value.toPrecision(3)).toLocaleString("en-US", { maximumFractionDigits: 3 });
}

function formatPolicy(cases: readonly CaseResult[]): string {
  const rows = cases
    .filter(({ contenders }) => contenders.some(({ name }) => name === "policy"))
    .flatMap((result) => {
      const metrics = (["perSecond", "cpu", "p99Ms", "kbEach"] as const).filter(
        (metric) => !Number.isNaN(valueOf(result, "ingress", metric)),
      );
      return metrics.map((metric) => [
        `${result.title}${POLICY_TITLES[metric] ?? ""}`,
        ...(["ingress", "policy"] as const).map((name) => formatValue(valueOf(result, name, metric), metric, result)),
      ]);
    });
  return rows.length === 0 ? NOT_MEASURED : formatMarkdownTable([["", "no policy", "nine annotations"], ...rows]);
}

const POLICY_TITLES: Readonly<Partial<Record<Metric, string>>> = {
  perSecond: ": /s",
  cpu: ": processor time each",
  p99Ms: ": p99",
};

function formatLimits(results: LimitsResult | undefined): string {
  if (results === undefined) return NOT_MEASURED;
  const { machine, rounds, seconds, ratePerSecond, limits } = results;
  const rows = limits.map((limit) => [
    limit.title,
    formatNumber(limit.requestsPerSecond),
    `${formatNumber(limit.p99Ms)} ms`,
    formatNumber(limit.messagesPerSecond),
    `${formatNumber(limit.startMs)} ms`,
    `${formatNumber(limit.residentMb)} MB`,
    `${formatNumber(limit.throttledPart * 100)} %`,
  ]);
  const header = ["CPU limit", "GET 1 KB × 64: /s", "p99", "echo 64 B × 64: /s", "start", "memory", "throttled"];
  return [
    wrapText(
      `${describeMachine(machine)} The values are medians of ${rounds} rounds of ${seconds} s. p99 is that of GET 1 KB ` +
        `at ${formatNumber(ratePerSecond)} requests per second.`,
    ),
    formatMarkdownTable([header, ...rows]),
  ].join("\n\n");
}
