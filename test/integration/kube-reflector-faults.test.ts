import { describe, expect, test } from "bun:test";
import { eventually } from "../../scripts/lib/eventually.ts";
import { endOfObjects, eventLine, statusBody } from "../support/fake-kube-api.ts";
import { createReflectorBench } from "../support/reflector-bench.ts";
import { createRandom } from "../../scripts/lib/stage/random.ts";

describe("Reflector: a server that refuses", () => {
  test("waits as long as Retry-After says after 429, up to a bound", async () => {
    await using bench = await createReflectorBench();
    const refusal = statusBody(429, "TooManyRequests", "slow down");
    bench.fake.intercept("list", (exchange) => exchange.respond(429, refusal, { "Retry-After": "7" }));
    bench.fake.intercept("list", (exchange) => exchange.respond(429, refusal, { "Retry-After": "3600" }));
    bench.fake.put("a", 1);
    await bench.begin();
    await bench.settle();
    expect(bench.clock.delays).toContain(7000);
    expect(bench.clock.delays).not.toContain(3_600_000);
    expect(bench.clock.delays.filter((delay) => delay === 30_000).length).toBeGreaterThan(0);
  });

  test("waits at most 2 s for a 503, for any Retry-After", async () => {
    await using bench = await createReflectorBench();
    bench.fake.intercept("list", (exchange) => exchange.respond(503, "starting", { "Retry-After": "5" }));
    await bench.begin();
    expect(bench.clock.delays).toContain(2000);
    expect(bench.clock.delays).not.toContain(5000);
  });

  test("keeps its position over a 500 for the watch", async () => {
    await using bench = await createReflectorBench({ watchMinMs: 0 });
    await bench.begin();
    for (let i = 0; i < 3; i++) bench.fake.intercept("watch", (exchange) => exchange.respond(500, "broken"));
    for (const watch of bench.fake.watches) watch.cut();
    bench.fake.put("a", 1);
    await bench.settle();
    expect(bench.store.replacements()).toBe(1);
    expect(
      bench.logger.find("error", /^Kubernetes: cannot watch things.test.example in namespace "ns": .*500 broken/),
    ).toHaveLength(1);
  });

  test("lists when the watch is refused for good, so that the table cannot go stale", async () => {
    await using bench = await createReflectorBench({ watchMinMs: 0, relistPauseMs: 100 });
    await bench.begin();
    const denied = statusBody(403, "Forbidden", 'User "u" cannot watch');
    const refusal = bench.fake.interceptAll("watch", (exchange) => exchange.respond(403, denied));
    for (const watch of bench.fake.watches) watch.cut();
    bench.fake.put("a", 1);
    await eventually(() => bench.store.objects.has("ns/a"));
    expect(bench.reflector.status().fault).toContain("grant get, list and watch on things (API group test.example)");
    refusal.stop();
    await bench.settle();
    await eventually(() => bench.reflector.status().fault === undefined);
    expect(bench.logger.find("info", /works again/)).toHaveLength(1);
  });

  test("is not synced while the watch is refused, and reports the missing permission", async () => {
    await using bench = await createReflectorBench({ relistPauseMs: 100 });
    const denied = statusBody(403, "Forbidden", 'things.test.example is forbidden: User "u" cannot watch');
    const refusal = bench.fake.interceptAll("watch", (exchange) => exchange.respond(403, denied));
    bench.reflector.start();
    await eventually(() => bench.logger.find("error", /cannot watch/).length > 0);
    expect(bench.logger.find("error", /cannot watch/)[0]).toBe(
      'Kubernetes: cannot watch things.test.example in namespace "ns": permission denied: grant get, list and watch on ' +
        'things (API group test.example) by a Role in namespace "ns" and its binding ' +
        '(403 things.test.example is forbidden: User "u" cannot watch)',
    );
    expect(bench.reflector.status().synced).toBe(false);
    refusal.stop();
    await eventually(() => bench.reflector.status().synced);
  });

  test("logs a lasting fault again, but not at each attempt", async () => {
    await using bench = await createReflectorBench();
    const refusal = bench.fake.interceptAll("list", (exchange) => exchange.respond(404, "404 page not found"));
    bench.reflector.start();
    const lines = () => bench.logger.find("error", /install the CustomResourceDefinition things.test.example/);
    await eventually(() => lines().length === 3);
    expect(bench.requests("list").length).toBeGreaterThan(2 * lines().length);
    expect(bench.versionsAsked()).toBeGreaterThanOrEqual(bench.requests("list").length);
    refusal.stop();
    await eventually(() => bench.reflector.status().synced);
  });
});

describe("Reflector: broken streams", () => {
  test("takes up a watch again after a line that was cut off, without a list", async () => {
    await using bench = await createReflectorBench({ watchMinMs: 0 });
    await bench.begin();
    const [watch] = bench.fake.watches;
    const object = bench.fake.put("a", 1, { silently: true });
    watch?.write(eventLine("ADDED", object).slice(0, -20));
    watch?.cut();
    await bench.settle();
    expect(bench.store.replacements()).toBe(1);
  });

  test("takes up a watch again after a line that was cut off by an end in order", async () => {
    await using bench = await createReflectorBench({ watchMinMs: 0 });
    await bench.begin();
    const [watch] = bench.fake.watches;
    const object = bench.fake.put("a", 1, { silently: true });
    watch?.write(eventLine("ADDED", object).slice(0, -20));
    watch?.end();
    await bench.settle();
    expect(bench.store.replacements()).toBe(1);
    expect(bench.logger.lines.filter(({ message }) => message.includes("in the middle of a line"))).toHaveLength(1);
  });

  for (const [what, bytes] of [
    ["is no JSON", Buffer.from('{"type":"ADDED","object":{\n')],
    ["is no UTF-8", Buffer.from([0x22, 0xff, 0xfe, 0x22, 0x0a])],
    ["has no object", Buffer.from('{"type":"ADDED"}\n')],
    ["is of an unknown type", Buffer.from(eventLine("WHAT", { metadata: { name: "a", resourceVersion: "200" } }))],
    ["has no version", Buffer.from(eventLine("ADDED", { metadata: { name: "a" } }))],
    ["has no name", Buffer.from(eventLine("ADDED", { metadata: { resourceVersion: "200" } }))],
    ["is an error without a status", Buffer.from(eventLine("ERROR", "?"))],
    ["is longer than the bound", Buffer.alloc(3000, 0x20)],
  ] as const) {
    test(`lists again after a line that ${what}`, async () => {
      await using bench = await createReflectorBench({ lineMaxBytes: 2000 });
      await bench.begin();
      const [watch] = bench.fake.watches;
      bench.fake.put("a", 1, { silently: true });
      watch?.write(bytes);
      await bench.settle();
      expect(bench.store.replacements()).toBe(2);
      expect(bench.logger.find("error", /cannot watch/)).toHaveLength(1);
    });
  }

  test("reads a line of 20 MB that comes in pieces", async () => {
    await using bench = await createReflectorBench();
    await bench.begin();
    bench.fake.put("large", "ä€😀".repeat(2_000_000));
    await bench.settle();
    expect(bench.store.replacements()).toBe(1);
  });

  test("reads lines and characters cut anywhere", async () => {
    await using bench = await createReflectorBench();
    await bench.begin();
    const random = createRandom(7);
    let bytes = Buffer.alloc(0);
    for (let i = 0; i < 40; i++) {
      const object = bench.fake.put(`thing-${i}`, "ä€😀".repeat(random.integer(9)), { silently: true });
      bytes = Buffer.concat([bytes, Buffer.from(eventLine("ADDED", object))]);
    }
    const [watch] = bench.fake.watches;
    for (let at = 0; at < bytes.length;) {
      const length = 1 + random.integer(40);
      watch?.write(bytes.subarray(at, at + length));
      at += length;
      if (random.integer(4) === 0) await Bun.sleep(0); // so that the pieces are read apart
    }
    await bench.settle();
    expect(bench.store.replacements()).toBe(1);
  });

  test("replaces a silent connection and continues from its position, without a list", async () => {
    await using bench = await createReflectorBench({ silenceMaxMs: 4000 });
    await bench.begin();
    bench.fake.deafen();
    bench.fake.put("a", 1);
    bench.fake.put("b", 1);
    bench.fake.remove("b");
    await bench.settle();
    expect(bench.store.replacements()).toBe(1);
    expect(bench.logger.find("warn", /watching things.* again: no byte for 4 s/).length).toBeGreaterThan(0);
  });

  test("keeps a connection that sends little, but something", async () => {
    await using bench = await createReflectorBench({ silenceMaxMs: 20_000 });
    await bench.begin();
    const [watch] = bench.fake.watches;
    for (let i = 0; i < 16; i++) {
      watch?.write(eventLine("BOOKMARK", { metadata: { resourceVersion: "100" } }));
      await Bun.sleep(100); // 2 s of the hurried clock
    }
    bench.fake.put("a", 1);
    await bench.settle();
    expect(bench.requests("watch")).toHaveLength(1);
  });

  test("gives up a request that is never answered", async () => {
    await using bench = await createReflectorBench({ headMaxMs: 2000 });
    bench.fake.intercept("list", () => {});
    bench.fake.intercept("watch", () => {});
    await bench.begin();
    expect(bench.requests("list")).toHaveLength(2);
    expect(bench.logger.find("error", /cannot list.*no answer for 2 s/)).toHaveLength(1);
  });

  test("survives a connection that is cut after every few events", async () => {
    await using bench = await createReflectorBench();
    await bench.begin();
    const random = createRandom(3);
    for (let i = 0; i < 60; i++) {
      bench.fake.put(`thing-${random.integer(20)}`, i);
      if (random.integer(3) === 0) bench.fake.remove(`thing-${random.integer(20)}`);
      if (i % 6 !== 0) continue;
      await eventually(() => bench.fake.watches.size === 1);
      for (const watch of bench.fake.watches) watch.cut();
    }
    await bench.settle();
    expect(bench.store.replacements()).toBe(1);
  });
});

describe("Reflector: events that tell no true story", () => {
  test("takes the same event twice", async () => {
    await using bench = await createReflectorBench();
    await bench.begin();
    const [watch] = bench.fake.watches;
    const line = eventLine("ADDED", bench.fake.put("a", 1));
    watch?.write(line);
    watch?.write(line);
    bench.fake.put("b", 1);
    await bench.settle();
    expect(bench.store.replacements()).toBe(1);
  });

  test("lists again when an older event comes after a newer one", async () => {
    await using bench = await createReflectorBench();
    await bench.begin();
    const [watch] = bench.fake.watches;
    const first = bench.fake.put("a", 1, { silently: true });
    bench.fake.put("a", 2);
    watch?.write(eventLine("MODIFIED", first));
    await eventually(() => bench.store.replacements() === 2);
    await bench.settle();
  });

  test("is not misled by the late deletion of an object that was created again", async () => {
    await using bench = await createReflectorBench();
    const old = bench.fake.put("a", 1);
    await bench.begin();
    const [watch] = bench.fake.watches;
    bench.fake.remove("a");
    bench.fake.put("a", 2);
    const deletion = { ...old, metadata: { ...old.metadata, resourceVersion: String(bench.fake.version() - 1) } };
    watch?.write(eventLine("DELETED", deletion));
    await bench.settle();
    expect(bench.store.objects.get("ns/a")?.metadata.uid).not.toBe(old.metadata.uid);
  });

  test("lists again when a bookmark goes back, as after a restore of etcd", async () => {
    await using bench = await createReflectorBench();
    bench.fake.put("a", 1);
    await bench.begin();
    const [watch] = bench.fake.watches;
    watch?.write(eventLine("BOOKMARK", { metadata: { resourceVersion: "7" } }));
    await eventually(() => bench.store.replacements() === 2);
  });
});

describe("Reflector: lists that go wrong", () => {
  const page = (continueToken: string, items: readonly unknown[] = []) => ({
    metadata: { resourceVersion: "5", continue: continueToken },
    items,
  });

  test("gives up a list whose pages never end", async () => {
    await using bench = await createReflectorBench({ listMaxObjects: 50 });
    let count = 0;
    const forever = bench.fake.interceptAll("list", (exchange) => {
      count += 1;
      const items = Array.from({ length: 10 }, (_, i) => ({ metadata: { name: `x-${count}-${i}`, namespace: "ns" } }));
      exchange.respond(200, page(`token-${count}`, items));
    });
    bench.reflector.start();
    await eventually(() => bench.logger.find("error", /cannot list.*more than 50 objects/).length === 1);
    expect(bench.store.objects.size).toBe(0);
    forever.stop();
    bench.fake.put("a", 1);
    await bench.settle();
  });

  test("gives up a list of empty pages that never end, by its deadline", async () => {
    await using bench = await createReflectorBench({ listMaxMs: 4000 });
    let count = 0;
    const forever = bench.fake.interceptAll("list", (exchange) => exchange.respond(200, page(`token-${count++}`)));
    bench.reflector.start();
    await eventually(() => bench.logger.find("error", /cannot list.*did not end within 4 s/).length === 1);
    forever.stop();
    await bench.settle();
  });

  test("gives up a list that repeats a page", async () => {
    await using bench = await createReflectorBench();
    for (let i = 0; i < 2; i++) bench.fake.intercept("list", (exchange) => exchange.respond(200, page("same")));
    await bench.begin();
    expect(bench.logger.find("error", /repeats a continue token/)).toHaveLength(1);
  });

  test("gives up a page that stalls", async () => {
    await using bench = await createReflectorBench({ pageStallMaxMs: 2000 });
    bench.fake.intercept("list", (exchange) =>
      exchange.stream().write('{"metadata":{"resourceVersion":"5"},"items":['),
    );
    await bench.begin();
    expect(bench.logger.find("error", /cannot list.*no byte for 2 s/)).toHaveLength(1);
  });

  test("gives up a list with an object that is too long", async () => {
    await using bench = await createReflectorBench({ lineMaxBytes: 2000 });
    bench.fake.intercept("list", (exchange) => {
      exchange.respond(200, page("", [{ metadata: { name: "a", namespace: "ns" }, spec: "x".repeat(2000) }]));
    });
    await bench.begin();
    await bench.settle();
    expect(bench.logger.find("error", /cannot list.*an object is longer than 2000 bytes/)).toHaveLength(1);
  });

  for (const [what, body] of [
    ["no JSON", "<html>"],
    ["no list", []],
    ["without a version", { metadata: {}, items: [] }],
    ["of objects without names", { metadata: { resourceVersion: "5" }, items: [{}] }],
  ] as const) {
    test(`asks again after a page ${what}`, async () => {
      await using bench = await createReflectorBench();
      bench.fake.put("a", 1);
      bench.fake.intercept("list", (exchange) => exchange.respond(200, body));
      await bench.begin();
      await bench.settle();
      expect(bench.logger.find("error", /cannot list/)).toHaveLength(1);
    });
  }

  test("treats null items as an empty list, as Go writes it", async () => {
    await using bench = await createReflectorBench();
    bench.fake.intercept("list", (exchange) =>
      exchange.respond(200, { metadata: { resourceVersion: "100" }, items: null }),
    );
    await bench.begin();
    expect(bench.store.replacements()).toBe(1);
  });
});

describe("Reflector: chaos", () => {
  for (const [seed, streams] of [
    [1, false],
    [2, false],
    [3, true],
    [4, true],
  ] as const) {
    test(`equals the server after any misbehaviour (seed ${seed}, ${streams ? "streams" : "lists"})`, async () => {
      await using bench = await createReflectorBench({
        pageSize: 7,
        silenceMaxMs: 20_000,
        headMaxMs: 3000,
        pageStallMaxMs: 3000,
        streamStallMaxMs: 3000,
        relistPauseMs: 1000,
      });
      bench.fake.streams = streams;
      const random = createRandom(seed);
      for (let i = 0; i < 30; i++) bench.fake.put(`thing-${i}`, i);
      await bench.begin();
      const misbehave: [() => void, ...(() => void)[]] = [
        () => bench.fake.compact(),
        () => bench.fake.deafen(),
        () => bench.fake.intercept("watch", (exchange) => exchange.respond(500, "")),
        () => bench.fake.intercept("stream", (exchange) => exchange.respond(500, "")),
        () => bench.fake.intercept("stream", (exchange) => exchange.stream().write(endOfObjects(1))),
        () => bench.fake.intercept("stream", (exchange) => exchange.stream().cut()),
        () => bench.fake.intercept("stream", (exchange) => exchange.stream().write(eventLine("BOOKMARK", "?"))),
        () => bench.fake.intercept("list", (exchange) => exchange.respond(410, statusBody(410, "Expired", "old"))),
        () => bench.fake.intercept("list", (exchange) => exchange.respond(429, "", { "Retry-After": "1" })),
        () => bench.fake.intercept("list", (exchange) => exchange.stream().cut()),
        () => bench.fake.intercept("watch", (exchange) => exchange.stream().end()),
        () => bench.fake.intercept("watch", () => {}),
        () => bench.fake.watches.forEach((watch) => watch.cut()),
        () => bench.fake.watches.forEach((watch) => watch.end()),
        () => bench.fake.watches.forEach((watch) => watch.write('{"type":"ADDED","obj')),
        () => bench.fake.watches.forEach((watch) => watch.write("garbage\n")),
      ];
      for (let i = 0; i < 150; i++) {
        if (random.integer(3) === 0) bench.fake.remove(`thing-${random.integer(40)}`);
        else bench.fake.put(`thing-${random.integer(40)}`, i);
        if (random.integer(8) === 0) random.pick(misbehave)();
        if (random.integer(5) === 0) await Bun.sleep(random.integer(30));
      }
      await bench.settle();
    });
  }
});
