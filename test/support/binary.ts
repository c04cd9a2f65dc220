import { mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "../..");
const CACHE = join(ROOT, ".cache/test-binary");

/**
 * The compiled ingress: INGRESS_BINARY, as `scripts/test` sets it, or one that is built now in the checkout's cache, so
 * that plain `bun test` needs no earlier step. Throws with the builder's output if the build fails.
 */
export async function buildBinary(): Promise<string> {
  const built = process.env["INGRESS_BINARY"];
  if (built !== undefined) return built;
  mkdirSync(CACHE, { recursive: true });
  const unfinished = join(CACHE, `ingress-${process.pid}`);
  const child = Bun.spawn([process.execPath, join(ROOT, "scripts/compile.ts"), "--outfile", unfinished], {
    stdout: "pipe",
    stderr: "pipe",
  });
  const [exitCode, stderr] = await Promise.all([child.exited, child.stderr.text()]);
  if (exitCode !== 0) throw new Error(`Cannot build the ingress: ${stderr}`);
  // Another run of tests may use the existing file; it keeps it.
  const binary = join(CACHE, "ingress");
  renameSync(unfinished, binary);
  return binary;
}
