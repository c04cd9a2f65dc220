import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "../..");

/**
 * The compiled ingress: INGRESS_BINARY, as `scripts/test` sets it, or one that is built now and removed when the process ends,
 * so that plain `bun test` needs no step before it. Throws with the builder's output when the build fails.
 */
export async function buildBinary(): Promise<string> {
  const built = process.env["INGRESS_BINARY"];
  if (built !== undefined) return built;
  const folder = mkdtempSync(join(tmpdir(), "ingress-binary-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const binary = join(folder, "ingress");
  const child = Bun.spawn([process.execPath, join(ROOT, "scripts/compile.ts"), "--outfile", binary], {
    stdout: "pipe",
    stderr: "pipe",
  });
  const [exitCode, stderr] = await Promise.all([child.exited, child.stderr.text()]);
  if (exitCode !== 0) throw new Error(`Cannot build the ingress: ${stderr}`);
  return binary;
}
