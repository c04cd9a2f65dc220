import { describe, expect, test } from "bun:test";
import { Tallies } from "../../../src/proxy/upstream/tallies.ts";
import { sandboxRecord } from "../../../scripts/lib/stage/sandbox-objects.ts";

describe("Tallies", () => {
  test("Tallies.take returns the same tally again, which counts", () => {
    const tallies = new Tallies();
    tallies.take("a").note(5, 1);
    tallies.take("a").note(9, 0);
    expect(tallies.find("a")).toMatchObject({ requests: 2, errors: 1, lastEndedAt: 9 });
    expect(tallies.find("b")).toBeUndefined();
  });

  test("Tallies.take forgets the sandbox that was taken first if it is full", () => {
    const tallies = new Tallies(2);
    for (const uid of ["a", "b", "a", "c", "a"]) tallies.take(uid);
    expect(tallies.size).toBe(2);
    expect([tallies.find("a"), tallies.find("b"), tallies.find("c")].map((tally) => tally !== undefined)).toEqual([
      true,
      false,
      true,
    ]);
  });

  test("Tallies.forget forgets a sandbox that is gone", () => {
    const tallies = new Tallies();
    tallies.take("uid-1");
    tallies.forget(sandboxRecord());
    expect(tallies.size).toBe(0);
  });
});
