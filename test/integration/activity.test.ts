import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";

import { eventually } from "../../scripts/lib/eventually.ts";
import { createRecordingLogger } from "../../scripts/lib/stage/recording-logger.ts";
import { sandboxRecord } from "../../scripts/lib/stage/sandbox-objects.ts";
import { systemClock } from "../../src/clock.ts";
import { ACTIVITY_QUEUE_MAX_NOTES } from "../../src/renew/activity-source.ts";
import { createRedisPublisher } from "../../src/renew/redis-publisher.ts";
import { hasRedis, type RedisServer, startRedis } from "../support/redis-server.ts";
import { publishedIds, QUEUE_KEY } from "../support/renew-harness.ts";

const key = (id: string): string => `opensandbox:activity:${id}`;

describe.skipIf(!hasRedis)("notes of activity in a real Redis", () => {
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis[Symbol.asyncDispose]());
  beforeEach(() => redis.cli(["flushall"]));

  /** A started publisher. `renewDsn`: renewing is on, with this address. */
  async function startNotes(options: { renewDsn?: string; minIntervalMs?: number; now?: () => number } = {}) {
    const { renewDsn, minIntervalMs = 0, now } = options;
    const logger = createRecordingLogger();
    const dsn = `redis://127.0.0.1:${redis.port}/0`;
    const publisher = createRedisPublisher({
      config: {
        enabled: renewDsn !== undefined,
        redisDsn: renewDsn ?? dsn,
        redisDsnFile: undefined,
        redisCaFile: undefined,
        queueKey: QUEUE_KEY,
        queueMaxLength: 0,
        minIntervalMs: 0,
      },
      activity: { enabled: true, redisDsn: dsn, minIntervalMs, ttlSeconds: 1_800 },
      logger,
      clock: now === undefined ? systemClock : { ...systemClock, now },
    });
    await publisher.start();
    return {
      publisher,
      logger,
      dsn,
      use: (name: string, renews = true) =>
        publisher.offer({ record: sandboxRecord({ name, uid: `uid of ${name}` }), port: 80, path: "/", renews }),
      written: () => publisher.activity()?.written,
      [Symbol.asyncDispose]: () => publisher.stop(0),
    };
  }

  const countClients = async (): Promise<number> =>
    (await redis.cli(["client", "list"])).split("\n").filter((line) => line.includes("laddr=127.0.0.1:")).length;

  test("RedisPublisher writes the moment of use, with a time to live, also of what renews nothing", async () => {
    await using notes = await startNotes({ now: () => 1_800_000_000_123 });
    notes.use("sb", false);
    await eventually(() => notes.written() === 1);
    expect(await redis.cli(["get", key("sb")])).toBe("1800000000123");
    const ttl = Number(await redis.cli(["ttl", key("sb")]));
    expect(ttl).toBeGreaterThan(1_700);
    expect(ttl).toBeLessThanOrEqual(1_800);
    expect(await redis.cli(["exists", QUEUE_KEY])).toBe("0");
  });

  test.each([
    ["1800000000124", "1800000000124"],
    ["1800000000122", "1800000000123"],
    ["odd", "1800000000123"],
  ])("RedisPublisher finds %s, and %s is there afterwards", async (was, is) => {
    await redis.cli(["set", key("sb"), was]);
    await using notes = await startNotes({ now: () => 1_800_000_000_123 });
    notes.use("sb");
    await eventually(() => notes.written() === 1);
    expect(await redis.cli(["get", key("sb")])).toBe(is);
  });

  test("RedisPublisher notes a sandbox once in the interval, each sandbox for itself", async () => {
    await using notes = await startNotes({ minIntervalMs: 60_000 });
    for (let i = 0; i < 100; i++) notes.use("a");
    notes.use("b");
    await eventually(() => notes.written() === 2);
    notes.use("a");
    await notes.publisher.stop(1_000);
    expect(notes.publisher.activity()).toEqual({ written: 2, dropped: 0 });
  });

  test("RedisPublisher writes a thousand sandboxes in batches", async () => {
    await using notes = await startNotes();
    for (let i = 0; i < 1_000; i++) notes.use(`sb-${i}`);
    await eventually(() => notes.written() === 1_000);
    expect(await redis.cli(["dbsize"])).toBe("1000");
  });

  test("RedisPublisher shares its connection with renew intents where the DSNs are equal, and only there", async () => {
    const before = await countClients();
    {
      await using shared = await startNotes({ renewDsn: `redis://127.0.0.1:${redis.port}/0` });
      shared.use("sb");
      await eventually(() => shared.written() === 1 && shared.publisher.stats().published === 1);
      expect(await countClients()).toBe(before + 1);
    }
    await eventually(async () => (await countClients()) === before);
    await using apart = await startNotes({ renewDsn: `redis://127.0.0.1:${redis.port}/1` });
    apart.use("sb");
    await eventually(() => apart.written() === 1 && apart.publisher.stats().published === 1);
    expect(await countClients()).toBe(before + 2);
    expect(await publishedIds(redis, { database: 1 })).toEqual(["sb"]);
  });

  test("RedisPublisher drops a note that Redis refuses, and renew intents on the same connection go on", async () => {
    await redis.cli(["lpush", key("list"), "x"]);
    await using notes = await startNotes({ renewDsn: `redis://127.0.0.1:${redis.port}/0` });
    for (const name of ["list", "sb"]) notes.use(name);
    await eventually(() => notes.written() === 1 && notes.publisher.stats().published === 2);
    expect(notes.publisher.activity()).toEqual({ written: 1, dropped: 1 });
    expect(notes.publisher.stats()).toMatchObject({ failed: 0, healthy: true });
    expect(notes.logger.find("warn", /refuses notes of activity/)).toHaveLength(1);
  });

  test("RedisPublisher keeps the latest note of each sandbox while Redis is away, and at most so many", async () => {
    let nowMs = 1_800_000_000_000;
    await using own = await startRedis();
    const gone = redis;
    redis = own;
    try {
      await using notes = await startNotes({ now: () => nowMs });
      notes.use("first");
      await eventually(() => notes.written() === 1);
      await own.kill();
      await eventually(() => {
        notes.use("sb");
        return notes.logger.find("warn", /cannot be published/).length > 0;
      });
      nowMs += 5;
      for (let i = 0; i < ACTIVITY_QUEUE_MAX_NOTES + 10; i++) notes.use(`many-${i}`);
      notes.use("sb");
      expect(notes.publisher.activity()?.dropped).toBeGreaterThanOrEqual(10);
      await own.restart();
      await eventually(async () => (await own.cli(["get", key("sb")])) === "1800000000005");
      await eventually(() => (notes.written() ?? 0) >= ACTIVITY_QUEUE_MAX_NOTES);
    } finally {
      redis = gone;
    }
  });

  test("RedisPublisher counts as dropped what is left at the end", async () => {
    const notes = await startNotes();
    await eventually(() => redis.cli(["ping"]));
    redis.freeze();
    try {
      notes.use("sb");
      await notes.publisher.stop(0);
      notes.use("late");
      expect(notes.publisher.activity()?.dropped).toBeGreaterThanOrEqual(1);
    } finally {
      redis.thaw();
    }
  });
});
