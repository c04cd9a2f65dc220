import { median, type Spread, spreadOf } from "./statistics.ts";
import { formatTable } from "./tables.ts";
import type { Comparison, Sample } from "./workers.ts";

/** What two processes must give to be worth a flag, as a multiple of one. */
export const WORTH_IT = 1.6;

/** Two processes divided by one, round by round. */
export function ratioOfTwo({ one, two }: Comparison, metric: keyof Sample): Spread {
  return spreadOf(two.map((sample, round) => sample[metric] / (one[round]?.[metric] ?? Number.NaN)));
}

export function formatComparison(comparison: Comparison): string {
  const { arrangement, one, two } = comparison;
  const of = (samples: readonly Sample[], metric: keyof Sample): number => median(samples.map((each) => each[metric]));
  const row = (name: string, samples: readonly Sample[]): readonly string[] => [
    name,
    Math.round(of(samples, "perSecond")).toLocaleString("en-US"),
    of(samples, "cpu").toFixed(1),
    of(samples, "mainCpu").toFixed(1),
    of(samples, "httpCpu").toFixed(1),
    ((of(samples, "cpu") * of(samples, "perSecond")) / 1e6).toFixed(2),
    of(samples, "p99Ms").toFixed(1),
    `${(100 * of(samples, "idle")).toFixed(0)} %`,
  ];
  const header = ["", "/s", "CPU us", "JavaScript", "fetch", "cores", "p99 ms", "machine idle"];
  const ratios = [
    `two : one ${formatSpread(ratioOfTwo(comparison, "perSecond"))}`,
    `CPU of each ${formatSpread(ratioOfTwo(comparison, "cpu"))}`,
  ];
  return (
    `${comparison.case.title}; ${arrangement.title} (${one.length} rounds)\n` +
    `${formatTable([header, row("one process", one), row("two processes", two)])}  ${ratios.join("; ")}\n`
  );
}

function formatSpread({ median: middle, min, max }: Spread): string {
  return `${middle.toFixed(2)} (${min.toFixed(2)}-${max.toFixed(2)})`;
}

/**
 * The most that a second process can bring by arithmetic, if the load ran on another machine. One process is as fast as
 * its busiest thread; processes on two cores share these.
 */
export function mostOnTwoCores(samples: readonly Sample[]): number {
  return median(samples.map(({ cpu, mainCpu, httpCpu }) => Math.max(1, (2 * Math.max(mainCpu, httpCpu)) / cpu)));
}

/** Whether two processes are worth a flag, and what the threads of one tell about larger machines. */
export function formatConclusion(comparisons: readonly Comparison[]): string {
  const best = comparisons.toSorted((a, b) => medianRatio(b) - medianRatio(a))[0];
  if (best === undefined) return "nothing was measured\n";
  const isWorth = medianRatio(best) >= WORTH_IT;
  const lines = [
    `The best of all: two processes give ${medianRatio(best).toFixed(2)} times one (${best.case.name}, ${best.arrangement.name}); ` +
      `wanted ${WORTH_IT}: ${isWorth ? "worth a flag" : "not worth a flag"} here.`,
  ];
  for (const { case: benchCase, one } of comparisons.filter(({ arrangement }) => arrangement.name === "free")) {
    lines.push(
      `${benchCase.name}: with the load on another machine, two processes on two cores could give at most ` +
        `${mostOnTwoCores(one).toFixed(2)} times one, by the times of its threads.`,
    );
  }
  return `${lines.join("\n")}\n`;
}

function medianRatio(comparison: Comparison): number {
  return ratioOfTwo(comparison, "perSecond").median;
}
