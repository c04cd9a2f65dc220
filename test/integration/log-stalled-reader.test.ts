import { expect, test } from "bun:test";
import { closeSync, constants, openSync } from "node:fs";
import { join } from "node:path";
import { tempDir } from "../support/temp-dir.ts";

const CHILD = join(import.meta.dir, "../support/log-child.ts");

test("createLogger never blocks the event loop when nobody reads standard output, and reports lost lines", async () => {
  using dir = tempDir();
  const fifo = join(dir.path, "stdout");
  expect(Bun.spawnSync(["mkfifo", fifo]).exitCode).toBe(0);
  // A pipe of the kernel's, which holds 64 KiB: a pipe that Bun.spawn makes is read ahead without end.
  const both = openSync(fifo, constants.O_RDWR);
  await using child = Bun.spawn([process.execPath, CHILD], { stdin: "pipe", stdout: both, stderr: "pipe" });

  // Turns that come after lines were dropped are the proof: the loop goes on while the reader stalls.
  let turns = 0;
  let seen = "";
  for await (const chunk of child.stderr.pipeThrough(new TextDecoderStream())) {
    seen += chunk;
    const reports = [...seen.matchAll(/"turns":(\d+),"dropped":(\d+)\}\n/g)].filter(([, , dropped]) => dropped !== "0");
    turns = reports.length;
    if (turns >= 5) break;
  }
  expect(turns).toBeGreaterThanOrEqual(5);

  const reader = openSync(fifo, constants.O_RDONLY);
  await using cat = Bun.spawn(["cat"], { stdin: reader, stdout: "pipe" });
  closeSync(reader);
  closeSync(both);
  const output = new Response(cat.stdout).text();
  await child.stdin.write("end\n");
  await child.stdin.end();
  expect(await child.exited).toBe(0);
  const notices = (await output).split("\n").filter((line) => line !== "" && !line.includes('"msg":"filler"'));
  expect(notices.length).toBeGreaterThan(0);
  for (const notice of notices) {
    expect(notice).toMatch(/^\{"time":"[^"]+","level":"warn","msg":"log lines were dropped","lines":[1-9]\d*\}$/);
  }
}, 60_000);
