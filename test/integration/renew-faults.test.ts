import { describe, expect, test } from "bun:test";
import { systemClock, type Clock } from "../../src/clock.ts";
import { RENEW_QUEUE_MAX_INTENTS } from "../../src/renew/queue.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { hasRedis, startRedis, type RedisServer } from "../support/redis-server.ts";
import { publishedIds, QUEUE_KEY, startPublisher, type RenewHarness } from "../support/renew-harness.ts";

const dsnOf = (redis: RedisServer) => `redis://127.0.0.1:${redis.port}`;
const failures = (harness: RenewHarness, count: number) => eventually(() => harness.publisher.stats().failed >= count);
const published = (harness: RenewHarness, count: number) =>
  eventually(() => harness.publisher.stats().published >= count);

describe.skipIf(!hasRedis)("RedisPublisher while Redis fails", () => {
  test("RedisPublisher publishes intents that were offered before Redis started", async () => {
    await using redis = await startRedis();
    await redis.kill();
    await using harness = await startPublisher(dsnOf(redis));
    harness.use("early");
    await failures(harness, 2);
    await redis.restart();
    await published(harness, 1);
    expect(await publishedIds(redis)).toEqual(["early"]);
    expect(harness.states()).toEqual(["warn refused", "info"]);
  });

  test("RedisPublisher keeps offered intents in order while Redis is down, and resumes", async () => {
    await using redis = await startRedis();
    await using harness = await startPublisher(dsnOf(redis));
    harness.use("before");
    await published(harness, 1);
    await redis.kill();
    for (const name of ["a", "b", "c"]) harness.use(name);
    await failures(harness, 2);
    expect(harness.publisher.stats()).toMatchObject({ queued: 3, healthy: false });
    await redis.restart();
    await published(harness, 4);
    expect(await publishedIds(redis)).toEqual(["c", "b", "a"]);
    expect(harness.states()).toEqual(["info", "warn refused", "info"]);
    expect(harness.publisher.stats()).toMatchObject({ queued: 0, dropped: 0, healthy: true });
  });

  test("RedisPublisher notices a frozen Redis, keeps the newest within its bound, and resumes", async () => {
    await using redis = await startRedis();
    await using harness = await startPublisher(dsnOf(redis));
    harness.use("before");
    await published(harness, 1);
    redis.freeze();
    const offered = RENEW_QUEUE_MAX_INTENTS + 5_000;
    for (let index = 0; index < offered; index += 1) harness.use(`sb-${index}`);
    await failures(harness, 2);
    expect(harness.publisher.stats()).toMatchObject({ queued: RENEW_QUEUE_MAX_INTENTS, dropped: 5_000 });
    redis.thaw();
    await published(harness, RENEW_QUEUE_MAX_INTENTS);
    await eventually(() => harness.publisher.stats().queued === 0);
    const ids = await publishedIds(redis);
    expect(ids.slice(0, 2)).toEqual([`sb-${offered - 1}`, `sb-${offered - 2}`]);
    expect(harness.states()).toEqual(["info", "warn timeout", "info"]);
  });

  test("RedisPublisher waits while Redis is read-only, and resumes when it is not", async () => {
    await using redis = await startRedis();
    await using harness = await startPublisher(dsnOf(redis));
    await redis.cli(["replicaof", "127.0.0.1", "1"]);
    harness.use("a");
    await failures(harness, 2);
    await redis.cli(["replicaof", "no", "one"]);
    await published(harness, 1);
    expect(await publishedIds(redis)).toEqual(["a"]);
    expect(harness.states()).toEqual(["info", "warn read-only", "info"]);
  });

  test("RedisPublisher waits while Redis is full, and resumes when it is not", async () => {
    await using redis = await startRedis();
    await using harness = await startPublisher(dsnOf(redis), { queueMaxLength: 10 });
    await redis.cli(["config", "set", "maxmemory", "1"]);
    harness.use("a");
    await failures(harness, 2);
    await redis.cli(["config", "set", "maxmemory", "0"]);
    await published(harness, 1);
    expect(await publishedIds(redis)).toEqual(["a"]);
    expect(harness.states()).toEqual(["info", "warn full", "info"]);
  });

  test("RedisPublisher waits while the key is not a list, and resumes when it is deleted", async () => {
    await using redis = await startRedis();
    await using harness = await startPublisher(dsnOf(redis));
    await redis.cli(["set", QUEUE_KEY, "text"]);
    harness.use("a");
    await failures(harness, 2);
    await redis.cli(["del", QUEUE_KEY]);
    await published(harness, 1);
    expect(await publishedIds(redis)).toEqual(["a"]);
    expect(harness.states()).toEqual(["info", "warn wrong-type", "info"]);
  });

  test("RedisPublisher waits while its password is wrong, and resumes when it is right again", async () => {
    await using redis = await startRedis("requirepass first");
    await using harness = await startPublisher(`redis://:first@127.0.0.1:${redis.port}`);
    harness.use("a");
    await published(harness, 1);
    const first = { password: "first" };
    await redis.cli(["config", "set", "requirepass", "second"], first);
    await redis.cli(["client", "kill", "type", "normal"], { password: "second" });
    harness.use("b");
    await failures(harness, 2);
    await redis.cli(["config", "set", "requirepass", "first"], { password: "second" });
    await published(harness, 2);
    expect(await publishedIds(redis, first)).toEqual(["b", "a"]);
    expect(harness.states()).toEqual(["info", "warn auth", "info"]);
  });

  test("RedisPublisher does not push again when only the cut is refused", async () => {
    await using redis = await startRedis("user default on nopass ~* +@all -ltrim");
    await using harness = await startPublisher(dsnOf(redis), { queueMaxLength: 10 });
    harness.use("a");
    await failures(harness, 1);
    harness.use("b");
    await failures(harness, 2);
    expect(await publishedIds(redis)).toEqual(["b", "a"]);
    expect(harness.publisher.stats()).toMatchObject({ published: 2, queued: 0 });
    expect(harness.states()).toEqual(["info", "warn forbidden"]);
  });

  test("RedisPublisher sends a batch again when its answer was lost: at least once", async () => {
    await using redis = await startRedis();
    using relay = startDeafRelay(redis.port);
    await using harness = await startPublisher(`redis://127.0.0.1:${relay.port}`);
    await eventually(() => harness.publisher.stats().healthy);
    relay.deafen();
    harness.use("a");
    await failures(harness, 1);
    relay.heal();
    await published(harness, 1);
    expect(await publishedIds(redis)).toEqual(["a", "a"]);
    expect(harness.states()).toEqual(["info", "warn closed", "info"]);
  });

  test("RedisPublisher drops an intent that its consumer would ignore for its age", async () => {
    await using redis = await startRedis();
    await redis.kill();
    let aheadMs = 0;
    const clock: Clock = { ...systemClock, now: () => Date.now() + aheadMs };
    await using harness = await startPublisher(dsnOf(redis), {}, { clock });
    harness.use("stale");
    await failures(harness, 1);
    aheadMs = 300_000;
    harness.use("fresh");
    await redis.restart();
    await published(harness, 1);
    expect(await publishedIds(redis)).toEqual(["fresh"]);
    expect(harness.publisher.stats()).toMatchObject({ dropped: 1, queued: 0 });
  });

  test("RedisPublisher never gives up", async () => {
    await using redis = await startRedis();
    await redis.kill();
    // Pauses pass a hundred times as fast, deadlines (2 s) do not.
    const hasty = (delayMs: number) => (delayMs < 2_000 ? delayMs / 100 : delayMs);
    const clock: Clock = { ...systemClock, setTimer: (ms, fire) => systemClock.setTimer(hasty(ms), fire) };
    await using harness = await startPublisher(dsnOf(redis), {}, { clock });
    harness.use("a");
    await failures(harness, 100);
    await redis.restart();
    await published(harness, 1);
    expect(await publishedIds(redis)).toEqual(["a"]);
    expect(harness.states()).toEqual(["warn refused", "info"]);
  });

  test("RedisPublisher.stop ends within its bound while Redis is frozen, and counts the remaining intents", async () => {
    await using redis = await startRedis();
    const harness = await startPublisher(dsnOf(redis));
    harness.use("before");
    await published(harness, 1);
    redis.freeze();
    for (const name of ["a", "b", "c"]) harness.use(name);
    await harness.publisher.stop(100);
    expect(harness.publisher.stats()).toMatchObject({ published: 1, queued: 0, dropped: 3 });
  });

  test("RedisPublisher.stop does not wait for a Redis that is known to be away", async () => {
    await using redis = await startRedis();
    await redis.kill();
    const harness = await startPublisher(dsnOf(redis));
    harness.use("a");
    await failures(harness, 1);
    await harness.publisher.stop(3_600_000);
    expect(harness.publisher.stats()).toMatchObject({ published: 0, queued: 0, dropped: 1 });
  });
});

/** A TCP relay to a port of 127.0.0.1 which, once deaf, passes one more command on, and closes instead of answering. */
function startDeafRelay(port: number): { port: number; deafen(): void; heal(): void } & Disposable {
  let deaf = false;
  const upstreams = new WeakMap<object, Promise<Bun.Socket>>();
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open(client) {
        const upstream = Bun.connect({
          hostname: "127.0.0.1",
          port,
          socket: {
            data(_, bytes) {
              if (deaf) client.end();
              else client.write(bytes);
            },
          },
        });
        upstreams.set(client, upstream);
      },
      data(client, bytes) {
        const copy = Buffer.from(bytes);
        void upstreams.get(client)?.then((upstream) => upstream.write(copy));
      },
      close(client) {
        void upstreams.get(client)?.then((upstream) => upstream.end());
      },
    },
  });
  return {
    port: listener.port,
    deafen: () => (deaf = true),
    heal: () => (deaf = false),
    [Symbol.dispose]: () => listener.stop(true),
  };
}
