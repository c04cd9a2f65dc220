/** The result of one step or of all. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** How a step's process ended. */
export interface Ending {
  /** Its exit code; null if a signal ended it. */
  readonly exitCode: number | null;
  /** Whether it was killed at its time limit. */
  readonly timedOut: boolean;
}

/** The counts of a step that is one check. */
export function countPlainStep(ending: Ending): Counts {
  const good = ending.exitCode === 0 && !ending.timedOut;
  return { passed: good ? 1 : 0, failed: good ? 0 : 1, skipped: 0 };
}

/**
 * The counts of a `bun test` run, of which the JUnit report says only what got as far as running: a run that ends badly
 * with no failed test in the report (a file that does not load, a crash, a time limit), or that ran nothing, counts as
 * one failure.
 */
export function countTestRun(ending: Ending, junit: string | undefined): Counts {
  const { tests, failed, skipped } = parseJunitTotals(junit ?? "");
  const good = ending.exitCode === 0 && !ending.timedOut && tests > 0;
  return { passed: tests - failed - skipped, failed: good ? failed : Math.max(failed, 1), skipped };
}

function parseJunitTotals(junit: string): { tests: number; failed: number; skipped: number } {
  const root = /<testsuites\b[^>]*>/.exec(junit)?.[0] ?? "";
  const read = (name: string) => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(root)?.[1] ?? 0);
  return { tests: read("tests"), failed: read("failures") + read("errors"), skipped: read("skipped") };
}

/** The names of the skipped tests in a JUnit report. */
export function listSkippedTests(junit: string): string[] {
  return [...junit.matchAll(/<testcase name="([^"]*)"[^>]*[^/]>\s*<skipped/g)].map((match) => match[1] ?? "");
}

/** Parts that were missing for tests, as recorded by `requirePart` of test/support; each once. */
export function parseSkipReasons(lines: string): string[] {
  const reasons = lines
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const record: unknown = JSON.parse(line);
      if (typeof record !== "object" || record === null || !("part" in record) || !("get" in record)) return line;
      return `${String(record.part)} is missing; get it with: ${String(record.get)}`;
    });
  return [...new Set(reasons)];
}

/** The sum. If nothing may be skipped, a skip is a failure. */
export function sumCounts(all: readonly Counts[], options: { skipsAllowed: boolean }): Counts {
  const sum = (key: keyof Counts) => all.reduce((total, counts) => total + counts[key], 0);
  const skipped = sum("skipped");
  return options.skipsAllowed
    ? { passed: sum("passed"), failed: sum("failed"), skipped }
    : { passed: sum("passed"), failed: sum("failed") + skipped, skipped: 0 };
}

/** The last line: `N passed, N failed`, and `, N skipped` if there are any. */
export function formatCounts(counts: Counts): string {
  const skipped = counts.skipped === 0 ? "" : `, ${counts.skipped} skipped`;
  return `${counts.passed} passed, ${counts.failed} failed${skipped}`;
}
