import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { tempDir } from "../../support/temp-dir.ts";

const REQUIRES_MODULE = join(import.meta.dir, "../../support/requires.ts");

/** Calls `requirePart` in a process of its own, as its answer depends on the environment. */
function runRequirePart(part: string, env: Record<string, string>) {
  const script = `import { requirePart } from ${JSON.stringify(REQUIRES_MODULE)};
    console.log(requirePart(${JSON.stringify(part)}, { get: "the shop" }));`;
  const { CI: _ci, ...rest } = process.env;
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, "-e", script], {
    env: { ...rest, ...env },
    stdout: "pipe",
    stderr: "pipe",
  });
  return { exitCode, stdout: stdout.toString().trim(), stderr: stderr.toString() };
}

test("requirePart is true for a program on PATH", () => {
  expect(runRequirePart("sh", { CI: "true" })).toMatchObject({ exitCode: 0, stdout: "true" });
});

test("requirePart is false for a missing program, and prints and records why", () => {
  using dir = tempDir();
  const skipsFile = join(dir.path, "skips");
  const seen = runRequirePart("no-such-program", { INGRESS_TEST_SKIPS_FILE: skipsFile });
  expect(seen).toMatchObject({ exitCode: 0, stdout: "false" });
  expect(seen.stderr).toContain("no-such-program is missing; get it with: the shop");
  expect(JSON.parse(readFileSync(skipsFile, "utf8"))).toEqual({ part: "no-such-program", get: "the shop" });
});

test("requirePart throws for a missing program with CI=true", () => {
  const seen = runRequirePart("no-such-program", { CI: "true" });
  expect(seen.exitCode).not.toBe(0);
  expect(seen.stderr).toContain("Cannot skip tests with CI=true");
});
