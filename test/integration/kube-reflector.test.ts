import { describe, expect, test } from "bun:test";
import { eventually } from "../../scripts/lib/eventually.ts";
import { eventLine, statusBody } from "../support/fake-kube-api.ts";
import { createReflectorBench } from "../support/reflector-bench.ts";

describe("Reflector: list and watch", () => {
  test("lists in pages of 500, following continue, and watches from the list's version", async () => {
    await using bench = await createReflectorBench();
    for (let i = 0; i < 1201; i++) bench.fake.put(`thing-${i}`, i);
    await bench.begin();
    await bench.settle();

    const lists = bench.requests("list");
    expect(lists.map(({ query }) => query.get("limit"))).toEqual(["500", "500", "500"]);
    expect(lists.map(({ query }) => query.get("continue"))).toEqual([null, "snapshot0+500", "snapshot0+1000"]);
    // An older list than the request could bring back what is gone.
    expect(lists.every(({ query }) => !query.has("resourceVersion"))).toBe(true);
    const query = bench.requests("watch")[0]?.query;
    expect(query?.get("resourceVersion")).toBe(String(bench.fake.version()));
    expect(query?.get("allowWatchBookmarks")).toBe("true");
    const seconds = Number(query?.get("timeoutSeconds"));
    expect(seconds >= 300 && seconds <= 600).toBe(true);
    expect(bench.requests("list")[0]?.path).toBe("/apis/test.example/v1/namespaces/ns/things");
  });

  test("applies additions, changes and deletions", async () => {
    await using bench = await createReflectorBench();
    bench.fake.put("a", 1);
    bench.fake.put("b", 1);
    await bench.begin();
    bench.fake.put("a", 2);
    bench.fake.remove("b");
    bench.fake.put("c", 1);
    await bench.settle();
    expect([...bench.store.objects.keys()]).toEqual(["ns/a", "ns/c"]);
    expect(bench.store.replacements()).toBe(1);
  });

  test("reconnects at once from the last bookmark after an ordinary end, without a list", async () => {
    await using bench = await createReflectorBench({ watchMinMs: 0 });
    await bench.begin();
    const [watch] = bench.fake.watches;
    watch?.write(eventLine("BOOKMARK", { kind: "Thing", metadata: { resourceVersion: "150" } }));
    watch?.end();
    await eventually(() => bench.requests("watch").length === 2);
    expect(bench.requests("watch")[1]?.query.get("resourceVersion")).toBe("150");
    expect(bench.requests("list")).toHaveLength(1);
    expect(bench.logger.find("warn", /./)).toEqual([]);
  });

  test("waits longer each time when the server ends every watch at once, and starts again once one works", async () => {
    await using bench = await createReflectorBench();
    for (let i = 0; i < 4; i++) bench.fake.intercept("watch", (exchange) => exchange.stream().end());
    await bench.begin();
    bench.fake.put("a", 1);
    await bench.settle();
    bench.fake.intercept("watch", (exchange) => exchange.stream().end());
    for (const watch of bench.fake.watches) watch.cut();
    await eventually(() => bench.requests("watch").length === 7);
    await bench.settle();
    const waits = bench.clock.delays.filter((delay) => delay >= 250 && delay < 2000 && delay !== 1000);
    // Jitter takes at most half: of 0.5 s, 1 s, 2 s, 2 s, and then of 0.5 s and 1 s.
    const longest = [500, 1000, 2000, 2000, 500, 1000];
    expect(waits).toHaveLength(longest.length);
    for (const [index, most] of longest.entries()) expect(waits[index]).toBeWithin(most / 2, most + 1);
  });

  test("ends its requests on stop and makes no more", async () => {
    await using bench = await createReflectorBench();
    await bench.begin();
    await bench.reflector.stop();
    await eventually(() => bench.fake.watches.size === 0);
    expect(bench.requests("watch")).toHaveLength(1);
  });

  test("stops while the server does not answer", async () => {
    await using bench = await createReflectorBench();
    bench.fake.interceptAll("list", () => {});
    bench.reflector.start();
    await eventually(() => bench.requests("list").length === 1);
    await bench.reflector.stop();
    expect(bench.reflector.status().synced).toBe(false);
  });
});

describe("Reflector: lost history", () => {
  test("lists again after 410 as a status, and drops objects that were deleted meanwhile", async () => {
    await using bench = await createReflectorBench({ watchMinMs: 0 });
    bench.fake.put("gone", 1);
    bench.fake.put("stays", 1);
    await bench.begin();
    for (const watch of bench.fake.watches) watch.cut();
    bench.fake.remove("gone");
    bench.fake.put("new", 1);
    bench.fake.compact();
    await bench.settle();
    expect(bench.store.replacements()).toBe(2);
    expect(bench.store.objects.has("ns/gone")).toBe(false);
  });

  test("lists again after 410 as an event", async () => {
    await using bench = await createReflectorBench();
    await bench.begin();
    const [watch] = bench.fake.watches;
    bench.fake.put("a", 1, { silently: true });
    watch?.write(eventLine("ERROR", statusBody(410, "Expired", "too old resource version: 1 (2)")));
    await bench.settle();
    expect(bench.store.replacements()).toBe(2);
  });

  test("asks for the list in one answer when its continue token is refused with 410", async () => {
    await using bench = await createReflectorBench({ pageSize: 2 });
    for (let i = 0; i < 5; i++) bench.fake.put(`thing-${i}`, i);
    bench.fake.intercept("list", (exchange) =>
      exchange.respond(200, { metadata: { resourceVersion: "1", continue: "old" }, items: [] }),
    );
    await bench.begin();
    await bench.settle();
    expect(bench.requests("list").map(({ query }) => query.toString())).toEqual([
      "limit=2",
      "continue=old&limit=2",
      "",
    ]);
    expect(bench.logger.find("error", /./)).toEqual([]);
  });

  test("keeps its content until a list is complete", async () => {
    await using bench = await createReflectorBench({ pageSize: 2, watchMinMs: 0 });
    for (let i = 0; i < 4; i++) bench.fake.put(`thing-${i}`, i);
    await bench.begin();
    const { promise: reached, resolve } = Promise.withResolvers<void>();
    bench.fake.intercept("list", (exchange) =>
      exchange.respond(200, { metadata: { resourceVersion: "1", continue: "c" }, items: [] }),
    );
    bench.fake.intercept("list", () => resolve());
    for (const watch of bench.fake.watches) {
      watch.write(eventLine("ERROR", statusBody(410, "Expired", "too old")));
    }
    await reached;
    expect(bench.store.objects.size).toBe(4);
    expect(bench.store.unfinished()).toBe(1);
    await bench.reflector.stop();
    expect(bench.store.unfinished()).toBe(0);
  });
});
