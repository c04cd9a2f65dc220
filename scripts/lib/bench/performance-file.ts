import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isObject } from "../../../src/values.ts";
import { formatPerformanceDocument, type Performance } from "./format-performance.ts";
import { parseLimitsResult } from "./limits-results.ts";
import { parseResults, toPlainResults } from "./results.ts";

const ROOT = join(import.meta.dir, "../../..");
export const PERFORMANCE_DOCUMENT = "docs/performance.md";
/** The numbers behind the document. */
const PERFORMANCE_NUMBERS = "docs/performance.json";

/** Reads the numbers of the document. Throws an Error if they are damaged. */
export function readPerformance(): Performance {
  const value: unknown = JSON.parse(readFileSync(join(ROOT, PERFORMANCE_NUMBERS), "utf8"));
  if (!isObject(value)) throw new Error(`${PERFORMANCE_NUMBERS} is no object`);
  const { bench, limits } = value;
  return {
    ...(bench !== undefined && { bench: parseResults(bench) }),
    ...(limits !== undefined && { limits: parseLimitsResult(limits) }),
  };
}

/** The document as its numbers and its present prose give it. */
export function formatStoredPerformance(): string {
  return formatPerformanceDocument(readFileSync(join(ROOT, PERFORMANCE_DOCUMENT), "utf8"), readPerformance());
}

/** Replaces the given part of the numbers, and writes the document from all of them. */
export function writePerformance(part: Performance): void {
  const { bench, limits } = { ...readPerformance(), ...part };
  const value = {
    ...(bench !== undefined && { bench: toPlainResults(bench) }),
    ...(limits !== undefined && { limits }),
  };
  writeFileSync(join(ROOT, PERFORMANCE_NUMBERS), `${JSON.stringify(value, null, 2)}\n`);
  writeFileSync(join(ROOT, PERFORMANCE_DOCUMENT), formatStoredPerformance());
  // The formatter of the project decides how lists of numbers are broken into lines.
  Bun.spawnSync([process.execPath, "fmt", PERFORMANCE_NUMBERS], { cwd: ROOT });
}
