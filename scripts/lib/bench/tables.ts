import { type CaseResult, type ContenderResult, type Measurement, type Metric, ratioOf } from "./measurement.ts";
import type { ContenderName } from "./contender-names.ts";
import type { Machine } from "./machine.ts";
import type { Spread } from "./statistics.ts";
import type { TargetResult } from "./targets.ts";

export function formatMachine(machine: Machine): string {
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
  return (
    `${machine.date}, ${machine.processor}, ${machine.cores} cores for load, proxy and upstream together, ` +
    `${machine.memoryGb} GB, Linux ${machine.kernel}\n${versions.join(", ")}`
  );
}

interface Column {
  readonly title: string;
  readonly metric: Metric;
}

function columnsOf(result: CaseResult): readonly Column[] {
  const columns: readonly Column[] = [
    { title: result.unit === "GB" ? "CPU s/GB" : "CPU s/M", metric: "cpu" },
    { title: `${result.unit}/s`, metric: "perSecond" },
    { title: "p50 ms", metric: "p50Ms" },
    { title: "p99 ms", metric: "p99Ms" },
    { title: "start ms", metric: "startMs" },
    { title: "RSS MB", metric: "residentMb" },
    { title: "KB each", metric: "kbEach" },
  ];
  return columns.filter(({ metric }) => result.contenders.some(({ medians }) => !Number.isNaN(medians[metric])));
}

/** The contenders of the columns of ratios. */
const REFERENCES: readonly ContenderName[] = ["nginx", "haproxy", "go", "upstream", "bare"];

/** A case as a table: medians, and ratios with their smallest and largest round. */
export function formatCase(result: CaseResult): string {
  const columns = columnsOf(result);
  const references = REFERENCES.filter((name) => result.contenders.some((each) => each.name === name));
  const header = ["", ...columns.map(({ title }) => title), ...references.map((name) => `of ${name}`)];
  const rows = result.contenders.map((contender) => [
    contender.name,
    ...columns.map(({ metric }) => formatNumber(contender.medians[metric])),
    ...references.map((name) => formatRatio(ratioOf(result, { of: contender.name, to: name }))),
  ]);
  const rounds = Math.max(...result.contenders.map((each) => each.rounds.length));
  return `${result.name}: ${result.title} (${rounds} rounds; ratios of ${describeMetric(result)})\n${formatTable([header, ...rows])}`;
}

function describeMetric(result: CaseResult): string {
  return columnsOf(result).find(({ metric }) => metric === result.compared)?.title ?? result.compared;
}

/** Rows of text in aligned columns: the first to the left, the others to the right. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const pad = (cell: string, column: number): string =>
    column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0);
  return `${rows.map((row) => `  ${row.map(pad).join("  ")}`.trimEnd()).join("\n")}\n`;
}

export function formatTargets(results: readonly TargetResult[]): string {
  const rows = results.map(({ title, wanted, found, bare, isMet }) => [
    title,
    wanted,
    found,
    bare,
    isMet ? "met" : "MISSED",
  ]);
  return formatTable([["to reach", "wanted", "found", "the forwarder", ""], ...rows]);
}

/** One line while it runs. */
export function formatRound(contender: ContenderResult["name"], round: number, measured: Measurement): string {
  const parts = [`${formatNumber(measured.perSecond)}/s`, `cpu ${formatNumber(measured.cpu)}`];
  return `  ${contender} ${round}: ${parts.join(", ")}`;
}

function formatRatio(spread: Spread | undefined): string {
  if (spread === undefined) return "";
  return `${spread.median.toFixed(2)} (${spread.min.toFixed(2)}-${spread.max.toFixed(2)})`;
}

function formatNumber(value: number): string {
  if (Number.isNaN(value)) return "";
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en-US");
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2);
}
