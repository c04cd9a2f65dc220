import { describe, expect, test } from "bun:test";
import { SandboxTable } from "../../../src/sandbox/table.ts";
import { createFakeClock } from "../../../scripts/lib/stage/fake-clock.ts";
import { createRecordingLogger } from "../../../scripts/lib/stage/recording-logger.ts";
import { sandboxRecord } from "../../../scripts/lib/stage/sandbox-objects.ts";

function createBench() {
  const clock = createFakeClock();
  const logger = createRecordingLogger();
  return { clock, logger, table: new SandboxTable({ logger, clock }) };
}

const record = (namespace: string, name = "sb", uid = `${namespace}/${name}`) =>
  sandboxRecord({ namespace, name, uid });
const line = (one: string, other: string) =>
  `sandboxes ${one} and ${other} share an id: requests for it are refused as ambiguous (502) until one of them is deleted`;

describe("SandboxTable.namesakes", () => {
  test("SandboxTable.namesakes logs a new namesake once, with both objects", () => {
    const { table, logger } = createBench();
    table.set(record("team-a"));
    table.set(record("team-b"));
    table.set({ ...record("team-b"), ready: false });
    table.lookup("sb");
    expect(logger.find("warn", /share an id/)).toEqual([line("team-a/sb", "team-b/sb")]);
    expect(table.namesakes()).toBe(1);
    table.remove("team-b", "sb");
    table.set(record("team-b", "sb", "created again"));
    expect(table.namesakes()).toBe(2);
  });

  test("SandboxTable.namesakes notes those that a list brings, of one namespace or of all", () => {
    const one = createBench();
    one.table.replaceAll("team-a", [record("team-a")]);
    one.table.replaceAll("team-b", [record("team-b"), record("team-b", "other")]);
    expect(one.logger.find("warn", /share an id/)).toEqual([line("team-a/sb", "team-b/sb")]);
    const all = createBench();
    all.table.replaceAll(undefined, [record("team-a"), record("team-b"), record("team-b", "other")]);
    all.table.replaceAll(undefined, [record("team-a"), record("team-b")]);
    expect(all.logger.find("warn", /share an id/)).toEqual([line("team-a/sb", "team-b/sb")]);
  });

  test("SandboxTable.namesakes notes names of one id when they are looked up together", () => {
    const { table, logger } = createBench();
    table.set(record("team-a", "foo"));
    table.set(record("team-b", "sandbox-foo"));
    expect(table.namesakes()).toBe(0);
    for (let count = 0; count < 100; count += 1) table.lookupFirst(["foo", "sandbox-foo"]);
    expect(logger.find("warn", /share an id/)).toEqual([line("team-a/foo", "team-b/sandbox-foo")]);
    expect(table.namesakes()).toBe(1);
  });

  test("SandboxTable.namesakes fills neither the log nor the memory: 20 lines in a minute, the rest is counted", () => {
    const { table, logger, clock } = createBench();
    for (let index = 0; index < 3_000; index += 1) {
      table.set(record("team-a", `sb-${index}`));
      table.set(record("team-b", `sb-${index}`));
    }
    expect(logger.lines).toHaveLength(20);
    expect(table.namesakes()).toBe(3_000);
    clock.advance(60_000);
    table.set(record("team-c", "sb-0"));
    expect(logger.lines.slice(20).map(({ message }) => message)).toEqual([
      "2980 more pairs of sandboxes share an id and were left out of the log",
      line("team-a/sb-0", "team-c/sb-0"),
    ]);
  });
});
