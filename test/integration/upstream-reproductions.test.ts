import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { readTable } from "../support/markdown-table.ts";

const FOLDER = join(import.meta.dir, "../../docs/upstream");
/** A program ends itself after 14 s. */
const PROGRAM_MAX_MS = 30_000;

const limits = readTable(readFileSync(join(FOLDER, "README.md"), "utf8")).map((cells) => ({
  program: /^\[(.+)\]/.exec(cells[0] ?? "")?.[1] ?? "",
  wayRound: cells.at(-1) ?? "",
}));

/** The last line that a program of docs/upstream prints, with all it printed before. */
async function run(program: string): Promise<{ exitCode: number; verdict: string; output: string }> {
  const child = Bun.spawn([process.execPath, join(FOLDER, program)], {
    // Without variables that would send requests through a proxy.
    env: { PATH: process.env["PATH"] },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: PROGRAM_MAX_MS,
    killSignal: "SIGKILL",
  });
  const [stdout, stderr, exitCode] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { exitCode, verdict: stdout.trimEnd().split("\n").at(-1) ?? "", output: stdout + stderr };
}

describe("limits of Bun", () => {
  test.each(limits)(
    "Bun still has the limit of docs/upstream/$program",
    async ({ program, wayRound }) => {
      const { exitCode, verdict, output } = await run(program);
      const brokenMessage = `docs/upstream/${program} is broken:\n${output}`;
      expect(exitCode, brokenMessage).toBe(0);
      expect(verdict, brokenMessage).toMatch(/^(?:NOT )?REPRODUCED$/);
      const lostMessage =
        `Bun ${Bun.version} no longer has this limit: remove docs/upstream/${program}, its row in the README, what` +
        ` other documents say about it, and the way round it (${wayRound}).\n${output}`;
      expect(verdict, lostMessage).toBe("REPRODUCED");
    },
    PROGRAM_MAX_MS * 2,
  );
});
