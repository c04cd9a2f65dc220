import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { runLimited } from "../../../scripts/lib/steps/run-limited.ts";
import { eventually } from "../../../scripts/lib/eventually.ts";
import { tempDir } from "../../support/temp-dir.ts";

const GENEROUS_MS = 60_000;

test("runLimited returns the exit code of a command that ends by itself", async () => {
  using dir = tempDir();
  const options = { cwd: dir.path, env: process.env, maxMs: GENEROUS_MS };
  expect(await runLimited(["sh", "-c", "exit 3"], options)).toEqual({ exitCode: 3, timedOut: false });
  expect(await runLimited(["sh", "-c", "kill -9 $$"], options)).toEqual({ exitCode: null, timedOut: false });
});

test("runLimited kills a command and its children at its limit", async () => {
  using dir = tempDir();
  const script = "sleep 600 & echo $! > pid; wait";
  const ending = await runLimited(["sh", "-c", script], { cwd: dir.path, env: process.env, maxMs: 1_500 });
  expect(ending).toEqual({ exitCode: null, timedOut: true });
  const pid = Number(readFileSync(join(dir.path, "pid"), "utf8"));
  expect(pid).toBeGreaterThan(1);
  await eventually(() => hasEnded(pid));
});

function hasEnded(pid: number): boolean {
  // A killed process whose parent does not wait for it stays a zombie; it runs no more.
  const { stdout } = Bun.spawnSync(["ps", "-o", "stat=", "-p", String(pid)]);
  return stdout.toString().trim() === "" || stdout.toString().startsWith("Z");
}

test("runLimited throws if the program is missing", async () => {
  const run = runLimited(["/no/such/program"], { cwd: "/", env: {}, maxMs: GENEROUS_MS });
  const error = await run.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  expect(error).toBeInstanceOf(Error);
});
