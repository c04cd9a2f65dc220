import { describe, expect, test } from "bun:test";
import { eventually } from "../../scripts/lib/eventually.ts";
import { endOfObjects, eventLine, statusBody } from "../support/fake-kube-api.ts";
import { createReflectorBench, type ReflectorBench } from "../support/reflector-bench.ts";

const queries = (bench: ReflectorBench, kind: "list" | "stream") =>
  bench.requests(kind).map(({ query }) => query.toString());

describe("Reflector: lists again", () => {
  test("asks the server's memory for a list not older than its position, in one answer", async () => {
    await using bench = await createReflectorBench({ pageSize: 2 });
    for (let i = 0; i < 5; i++) bench.fake.put(`thing-${i}`, i);
    await bench.begin();
    bench.fake.put("last", 1);
    await bench.settle();
    const position = bench.fake.version();
    await bench.expire();
    await bench.settle();
    expect(queries(bench, "list").slice(3)).toEqual([`resourceVersion=${position}&resourceVersionMatch=NotOlderThan`]);
  });

  test("asks for a consistent list at once when the server is behind its position", async () => {
    await using bench = await createReflectorBench();
    await bench.begin();
    await bench.expire(900);
    expect(queries(bench, "list").slice(1)).toEqual([
      "resourceVersion=900&resourceVersionMatch=NotOlderThan",
      "limit=500",
    ]);
    expect(bench.logger.find("error", /./)).toEqual([]);
    // The consistent list is what the server has; that it is older is told.
    expect(bench.logger.find("warn", /the history of the API server went back from 900 to 100/)).toHaveLength(1);
  });

  test("asks for a consistent list at once when the list itself is refused with 410", async () => {
    await using bench = await createReflectorBench();
    await bench.begin();
    bench.fake.intercept("list", (exchange) => exchange.respond(410, statusBody(410, "Expired", "too old")));
    await bench.expire();
    expect(queries(bench, "list").slice(2)).toEqual(["limit=500"]);
    expect(bench.logger.find("error", /./)).toEqual([]);
  });

  test("refuses a list older than requested, and keeps its content until it has a better one", async () => {
    await using bench = await createReflectorBench();
    bench.fake.put("a", 1);
    await bench.begin();
    bench.fake.put("b", 1);
    await bench.settle();
    const seen: number[] = [];
    bench.fake.intercept("list", (exchange) => {
      exchange.respond(200, { metadata: { resourceVersion: "101" }, items: [] });
    });
    bench.fake.interceptAll("list", (exchange) => {
      seen.push(bench.store.objects.size);
      exchange.respond(200, {
        metadata: { resourceVersion: String(bench.fake.version()) },
        items: [...bench.fake.objects.values()],
      });
    });
    await bench.expire();
    expect(seen).toEqual([2]);
    await bench.settle();
  });

  test("spreads the lists of many reflectors over a second after a compaction", async () => {
    await using stack = new AsyncDisposableStack();
    const benches: ReflectorBench[] = [];
    for (let seed = 1; seed <= 8; seed++)
      benches.push(stack.use(await createReflectorBench({}, { seed: seed * 7919 })));
    await Promise.all(benches.map((bench) => bench.begin()));
    const before = benches.map(({ clock }) => clock.delays.length);
    await Promise.all(benches.map((bench) => bench.expire()));
    // The first timer after the end of the watch is the pause before the list.
    const pauses = benches.map(({ clock }, index) => clock.delays[before[index] ?? 0] ?? Number.NaN);
    for (const pause of pauses) expect(pause).toBeWithin(0, 1000);
    expect(new Set(pauses).size).toBeGreaterThan(6);
    expect(Math.max(...pauses) - Math.min(...pauses)).toBeGreaterThan(300);
  });

  test("notices during silence that the server's history went back, and takes over its content", async () => {
    await using bench = await createReflectorBench({ silenceMaxMs: 4000 });
    for (let i = 0; i < 3; i++) bench.fake.put(`thing-${i}`, i);
    await bench.begin();
    bench.fake.rollBack(50);
    await bench.settle();
    expect(bench.logger.find("error", /the API server is at version 50, behind 103/)).toHaveLength(1);
    expect(bench.logger.find("warn", /went back from 103 to 50/)).toHaveLength(1);
  });

  test("does not list again if the server sends no bookmarks, and logs silence once", async () => {
    await using bench = await createReflectorBench({ silenceMaxMs: 2000 });
    bench.fake.put("a", 1);
    await bench.begin();
    await eventually(() => bench.requests("watch").length >= 5);
    expect(queries(bench, "list").filter((query) => query !== "limit=1")).toEqual(["limit=500"]);
    expect(bench.store.replacements()).toBe(1);
    expect(
      bench
        .requests("watch")
        .map(({ query }) => query.get("resourceVersion"))
        .slice(0, 5),
    ).toEqual(Array.from({ length: 5 }, () => "101"));
    expect(bench.logger.find("warn", /./)).toHaveLength(1);
    expect(bench.logger.find("error", /./)).toEqual([]);
    bench.fake.put("b", 1);
    await bench.settle();
  });
});

describe("Reflector: silence", () => {
  test("lists again after several silent watches, in case something on the way holds events back", async () => {
    await using bench = await createReflectorBench({ silenceMaxMs: 1000, silencesBeforeRelist: 3 });
    await bench.begin();
    const holdsBack = bench.fake.interceptAll("watch", (exchange) => exchange.stream());
    bench.fake.deafen();
    bench.fake.put("a", 1);
    await eventually(() => bench.store.objects.has("ns/a"));
    // The watch of the beginning, and two that held back.
    expect(bench.requests("watch").length).toBeGreaterThanOrEqual(3);
    expect(queries(bench, "list").filter((query) => query.startsWith("resourceVersion="))).toHaveLength(1);
    holdsBack.stop();
    await bench.settle();
  });
});

describe("Reflector: streams of objects", () => {
  async function createStreamBench(limits: Parameters<typeof createReflectorBench>[0] = {}) {
    const bench = await createReflectorBench(limits);
    bench.fake.streams = true;
    return bench;
  }

  test("takes all objects and all changes from one request", async () => {
    await using bench = await createStreamBench();
    for (let i = 0; i < 1200; i++) bench.fake.put(`thing-${i}`, i);
    await bench.begin();
    expect(bench.store.objects.size).toBe(1200);
    bench.fake.put("late", 1);
    bench.fake.remove("thing-7");
    await bench.settle();
    expect([bench.requests("list").length, bench.requests("watch").length, bench.store.replacements()]).toEqual([
      0, 0, 1,
    ]);
    const query = bench.requests("stream")[0]?.query;
    expect(Object.fromEntries(query ?? [])).toEqual({
      watch: "true",
      sendInitialEvents: "true",
      resourceVersionMatch: "NotOlderThan",
      allowWatchBookmarks: "true",
      timeoutSeconds: query?.get("timeoutSeconds") ?? "",
    });
    expect(bench.reflector.status()).toMatchObject({ synced: true, fault: undefined });
  });

  test("is not synced, and shows nothing, before the end of the objects", async () => {
    await using bench = await createStreamBench();
    const { promise, resolve } = Promise.withResolvers<{ write(line: string): void }>();
    bench.fake.intercept("stream", (exchange) => resolve(exchange.stream()));
    bench.reflector.start();
    const stream = await promise;
    const object = (name: string, version: number) => ({
      metadata: { name, namespace: "ns", uid: name, resourceVersion: String(version) },
    });
    stream.write(eventLine("ADDED", object("a", 90)) + eventLine("ADDED", object("b", 20)));
    // Changes come between the objects, and of no order.
    stream.write(eventLine("MODIFIED", object("a", 120)) + eventLine("DELETED", object("b", 121)));
    stream.write(eventLine("DELETED", object("never", 122)) + eventLine("ADDED", object("c", 30)));
    await eventually(() => bench.store.added() === 4);
    expect([bench.store.objects.size, bench.reflector.status().synced]).toEqual([0, false]);
    stream.write(endOfObjects(122));
    await eventually(() => bench.reflector.status().synced);
    expect([...bench.store.objects.values()].map(({ metadata }) => [metadata.name, metadata.resourceVersion])).toEqual([
      ["a", "120"],
      ["c", "30"],
    ]);
    // From here on the order counts.
    stream.write(eventLine("MODIFIED", object("a", 110)));
    await eventually(() => bench.logger.find("error", /version 110 came after version 122/).length === 1);
  });

  test("asks for a stream not older than its position after 410, and drops objects that were deleted meanwhile", async () => {
    await using bench = await createStreamBench();
    bench.fake.put("gone", 1);
    await bench.begin();
    const [watch] = bench.fake.watches;
    bench.fake.deafen();
    bench.fake.remove("gone");
    bench.fake.put("new", 1);
    watch?.write(eventLine("ERROR", statusBody(410, "Expired", "too old")));
    await bench.settle();
    expect(queries(bench, "list")).toEqual([]);
    expect(bench.requests("stream").map(({ query }) => query.get("resourceVersion"))).toEqual([null, "101"]);
    expect(bench.store.replacements()).toBe(2);
  });

  test("asks for a consistent list at once when the server is behind its position", async () => {
    await using bench = await createStreamBench();
    await bench.begin();
    bench.fake.rollBack(50);
    await bench.expire(100);
    expect(queries(bench, "list")).toEqual(["limit=500"]);
    expect(bench.logger.find("warn", /went back from 100 to 50/)).toHaveLength(1);
  });

  test("lists if streams are refused, and does not ask again for some time", async () => {
    await using bench = await createReflectorBench();
    await bench.begin();
    for (let i = 0; i < 3; i++) await bench.expire();
    expect([bench.requests("stream").length, bench.requests("list").length]).toEqual([1, 4]);
    expect(bench.logger.find("error", /./)).toEqual([]);
    expect(bench.logger.find("info", /by pages instead of stream: 422 sendInitialEvents is forbidden/)).toHaveLength(1);
  });

  test("asks again for a stream after some time, since the server may have been upgraded", async () => {
    await using bench = await createReflectorBench({ streamRetryMs: 0 });
    await bench.begin();
    bench.fake.streams = true;
    await bench.expire();
    expect([bench.requests("stream").length, bench.requests("list").length]).toEqual([2, 1]);
  });

  for (const [what, lines] of [
    ["sends all objects and then nothing", eventLine("ADDED", { metadata: { name: "x", resourceVersion: "1" } })],
    ["sends a bookmark of another kind", eventLine("BOOKMARK", { metadata: { resourceVersion: "100" } })],
    ["sends an error", eventLine("ERROR", statusBody(500, "InternalError", "the storage feature is disabled"))],
    ["sends garbage", "garbage\n"],
    ["sends nothing at all", ""],
  ] as const) {
    test(`lists where a server takes the request for a stream and ${what}`, async () => {
      await using bench = await createReflectorBench({ streamStallMaxMs: 2000 });
      bench.fake.interceptAll("stream", (exchange) => {
        const stream = exchange.stream();
        if (lines !== "") stream.write(lines);
      });
      bench.fake.put("a", 1);
      await bench.begin();
      await bench.settle();
      expect(bench.requests("list")).toHaveLength(1);
      expect(bench.store.unfinished()).toBe(0);
      expect(bench.logger.find("error", /./)).toEqual([]);
    });
  }

  test("lists if the watch is forbidden, so that the table is not empty", async () => {
    await using bench = await createReflectorBench({ relistPauseMs: 100 });
    const denied = statusBody(403, "Forbidden", 'User "u" cannot watch');
    bench.fake.interceptAll("stream", (exchange) => exchange.respond(403, denied));
    bench.fake.interceptAll("watch", (exchange) => exchange.respond(403, denied));
    bench.fake.put("a", 1);
    bench.reflector.start();
    await eventually(() => bench.store.objects.has("ns/a"));
    await eventually(() => bench.logger.find("error", /cannot watch.*permission denied/).length > 0);
  });

  test("tries a list after a stream that breaks before its end, and keeps its content", async () => {
    await using bench = await createStreamBench();
    bench.fake.put("a", 1);
    await bench.begin();
    bench.fake.intercept("stream", (exchange) => {
      const stream = exchange.stream();
      stream.write(eventLine("ADDED", bench.fake.put("b", 1, { silently: true })));
      setTimeout(() => stream.cut(), 5);
    });
    await bench.expire();
    await bench.settle();
    expect(queries(bench, "list")).toEqual(["resourceVersion=101&resourceVersionMatch=NotOlderThan"]);
    expect(bench.store.unfinished()).toBe(0);
  });

  test("gives up a stream whose objects never end", async () => {
    await using bench = await createReflectorBench({ listMaxObjects: 50 });
    bench.fake.intercept("stream", (exchange) => {
      const stream = exchange.stream();
      for (let i = 0; i < 60; i++) {
        stream.write(eventLine("ADDED", { metadata: { name: `x-${i}`, namespace: "ns", resourceVersion: "5" } }));
      }
    });
    await bench.begin();
    expect(bench.logger.find("info", /instead of stream: the stream has more than 50 objects/)).toHaveLength(1);
    expect(bench.store.objects.size).toBe(0);
  });
});
