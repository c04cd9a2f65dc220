import { describe, expect, test } from "bun:test";
import { eventually } from "../../scripts/lib/eventually.ts";
import { eventLine, statusBody } from "../support/fake-kube-api.ts";
import { createReflectorBench, type ReflectorBench } from "../support/reflector-bench.ts";

/** What has been counted, without what is zero. */
function countsOf({ counts }: ReflectorBench) {
  const strip = (numbers: Readonly<Record<string, number>>) =>
    Object.fromEntries(Object.entries(numbers).filter(([, number]) => number > 0));
  return { lists: strip(counts.lists), watchEnds: strip(counts.watchEnds) };
}

describe("WatchCounts of a reflector", () => {
  test("the first list is initial, and an ordinary end of a watch needs no other", async () => {
    await using bench = await createReflectorBench({ watchMinMs: 0 });
    await bench.begin();
    for (const watch of bench.fake.watches) watch.end();
    await eventually(() => bench.requests("watch").length === 2);
    expect(countsOf(bench)).toEqual({ lists: { initial: 1 }, watchEnds: { ended: 1 } });
  });

  test("a lost position is the reason of the end and of the list after it", async () => {
    await using bench = await createReflectorBench();
    await bench.begin();
    await bench.expire();
    expect(countsOf(bench)).toEqual({ lists: { initial: 1, expired: 1 }, watchEnds: { expired: 1 } });
  });

  test("a cut connection ends a watch, and is no reason for a list", async () => {
    await using bench = await createReflectorBench({ watchMinMs: 0 });
    await bench.begin();
    for (const watch of bench.fake.watches) watch.cut();
    await eventually(() => bench.requests("watch").length === 2);
    expect(countsOf(bench)).toEqual({ lists: { initial: 1 }, watchEnds: { unreachable: 1 } });
  });

  test("an event out of order is told apart from a history that is gone", async () => {
    await using bench = await createReflectorBench();
    await bench.begin();
    for (const watch of bench.fake.watches) watch.write("no JSON\n");
    await eventually(() => bench.store.replacements() === 2);
    expect(countsOf(bench)).toEqual({ lists: { initial: 1, protocol: 1 }, watchEnds: { protocol: 1 } });
  });

  test("a refused watch counts, and lists that fail do not", async () => {
    await using bench = await createReflectorBench();
    bench.fake.intercept("list", (exchange) => exchange.respond(500, statusBody(500, "InternalError", "no")));
    bench.fake.intercept("watch", (exchange) => exchange.respond(403, statusBody(403, "Forbidden", "no")));
    await bench.begin();
    const { lists, watchEnds } = countsOf(bench);
    expect(watchEnds).toEqual({ forbidden: 1 });
    expect(lists["initial"]).toBe(1);
  });

  test("the end of the program is no end of a watch", async () => {
    await using bench = await createReflectorBench();
    await bench.begin();
    for (const watch of bench.fake.watches)
      watch.write(eventLine("BOOKMARK", { metadata: { resourceVersion: "150" } }));
    await bench.reflector.stop();
    expect(countsOf(bench)).toEqual({ lists: { initial: 1 }, watchEnds: {} });
  });
});
