import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import {
  countPlainStep,
  countTestRun,
  formatCounts,
  listSkippedTests,
  parseSkipReasons,
  sumCounts,
} from "../../../scripts/lib/steps/test-report.ts";
import { tempDir } from "../../support/temp-dir.ts";

const GOOD = { exitCode: 0, timedOut: false };
const BAD = { exitCode: 1, timedOut: false };
const KILLED = { exitCode: null, timedOut: true };
const PASSING_REPORT = '<testsuites name="bun test" tests="3" assertions="4" failures="0" skipped="1" time="0.1">';
const FAILING_REPORT = '<testsuites name="bun test" tests="3" assertions="4" failures="2" skipped="0" time="0.1">';

test("countPlainStep counts a step that ends with 0 as passed, any other ending as failed", () => {
  expect(countPlainStep(GOOD)).toEqual({ passed: 1, failed: 0, skipped: 0 });
  for (const ending of [BAD, KILLED, { exitCode: 0, timedOut: true }, { exitCode: null, timedOut: false }]) {
    expect(countPlainStep(ending)).toEqual({ passed: 0, failed: 1, skipped: 0 });
  }
});

describe("countTestRun", () => {
  test("countTestRun takes the counts of the report", () => {
    expect(countTestRun(GOOD, PASSING_REPORT)).toEqual({ passed: 2, failed: 0, skipped: 1 });
    expect(countTestRun(BAD, FAILING_REPORT)).toEqual({ passed: 1, failed: 2, skipped: 0 });
  });

  test("countTestRun adds a failure when the run ended badly though no test of the report failed", () => {
    expect(countTestRun(BAD, PASSING_REPORT)).toEqual({ passed: 2, failed: 1, skipped: 1 });
    expect(countTestRun(KILLED, PASSING_REPORT)).toEqual({ passed: 2, failed: 1, skipped: 1 });
  });

  test("countTestRun counts a run without a report, or without a test, as a failure", () => {
    expect(countTestRun(GOOD, undefined)).toEqual({ passed: 0, failed: 1, skipped: 0 });
    expect(countTestRun(GOOD, '<testsuites tests="0" failures="0" skipped="0">')).toMatchObject({ failed: 1 });
    expect(countTestRun(KILLED, "<testsui")).toMatchObject({ failed: 1 });
  });

  test("countTestRun and listSkippedTests understand what bun test writes", async () => {
    using dir = tempDir();
    await Bun.write(
      join(dir.path, "a.test.ts"),
      `import { describe, expect, test } from "bun:test";
       test("passes", () => {});
       test("fails", () => { expect(1).toBe(2); });
       test.skip("is skipped", () => {});
       describe.skipIf(true)("group", () => { test("is skipped too", () => {}); });`,
    );
    await Bun.write(join(dir.path, "b.test.ts"), `import "./missing.ts";`);
    const report = join(dir.path, "report.xml");
    const child = Bun.spawn([process.execPath, "test", "--reporter=junit", `--reporter-outfile=${report}`], {
      cwd: dir.path,
      stdout: "ignore",
      stderr: "ignore",
    });
    const exitCode = await child.exited;
    const junit = await Bun.file(report).text();
    expect(countTestRun({ exitCode, timedOut: false }, junit)).toEqual({ passed: 1, failed: 1, skipped: 2 });
    expect(listSkippedTests(junit)).toEqual(["is skipped", "is skipped too"]);
  });
});

test("parseSkipReasons returns each missing part once, with how to get it", () => {
  const line = JSON.stringify({ part: "redis-server", get: "apt-get install redis-server" });
  expect(parseSkipReasons(`${line}\n${line}\n`)).toEqual([
    "redis-server is missing; get it with: apt-get install redis-server",
  ]);
  expect(parseSkipReasons("")).toEqual([]);
});

test("sumCounts turns skips into failures if nothing may be skipped", () => {
  const counts = [
    { passed: 1, failed: 0, skipped: 2 },
    { passed: 4, failed: 1, skipped: 0 },
  ];
  expect(sumCounts(counts, { skipsAllowed: true })).toEqual({ passed: 5, failed: 1, skipped: 2 });
  expect(sumCounts(counts, { skipsAllowed: false })).toEqual({ passed: 5, failed: 3, skipped: 0 });
});

test("formatCounts names skips only if there are some", () => {
  expect(formatCounts({ passed: 3, failed: 0, skipped: 0 })).toBe("3 passed, 0 failed");
  expect(formatCounts({ passed: 3, failed: 1, skipped: 2 })).toBe("3 passed, 1 failed, 2 skipped");
});
