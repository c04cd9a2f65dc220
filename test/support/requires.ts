import { appendFileSync } from "node:fs";

/** Names a file to which each missing part is appended, one JSON object per line; `scripts/test` sets and reads it. */
const SKIPS_FILE_VARIABLE = "INGRESS_TEST_SKIPS_FILE";

export interface RequirePartOptions {
  /** How a person gets the part, as one command or sentence. */
  readonly get: string;
  /** Whether it is installed; by default, whether an executable with this name is on PATH. */
  readonly isPresent?: () => boolean;
}

/**
 * Whether a part that the machine may lack (a program, a privilege) is available, for `test.skipIf(!hasRedis)`. If not,
 * the reason is printed and recorded for the summary of `scripts/test`. With CI=true nothing may be skipped, so it
 * throws.
 */
export function requirePart(name: string, options: RequirePartOptions): boolean {
  const isPresent = options.isPresent ?? (() => Bun.which(name) !== null);
  if (isPresent()) return true;
  const reason = `${name} is missing; get it with: ${options.get}`;
  if (process.env["CI"] === "true") throw new Error(`Cannot skip tests with CI=true: ${reason}`);
  console.warn(`skipping tests: ${reason}`);
  const skipsFile = process.env[SKIPS_FILE_VARIABLE];
  if (skipsFile !== undefined) appendFileSync(skipsFile, `${JSON.stringify({ part: name, get: options.get })}\n`);
  return false;
}
