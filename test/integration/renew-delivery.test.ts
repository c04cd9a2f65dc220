import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { hasRedis, startRedis, type RedisServer } from "../support/redis-server.ts";
import { publishedIds, QUEUE_KEY, startPublisher } from "../support/renew-harness.ts";
import { sandboxRecord } from "../../scripts/lib/stage/sandbox-objects.ts";

const PASSWORD = "p@ss:/w%rd #1";
const login = { password: PASSWORD };
const encoded = encodeURIComponent(PASSWORD);

describe.skipIf(!hasRedis)("RedisPublisher with a real Redis", () => {
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await startRedis(
      `requirepass "${PASSWORD}"`,
      `user renewer on ">${PASSWORD}" ~opensandbox:* +lpush +ltrim +select`,
    );
  });
  afterAll(() => redis[Symbol.asyncDispose]());

  const ids = (options: { database?: number; key?: string } = {}) => publishedIds(redis, { ...login, ...options });
  /** How many clients Redis has, redis-cli itself included. */
  const clients = async () => (await redis.cli(["client", "list", "type", "normal"], login)).split("\n").length;
  const clear = () => redis.cli(["flushall"], login);

  test("RedisPublisher pushes exactly the payload of OSEP-0009", async () => {
    await clear();
    const clock = { ...systemClock, now: () => Date.UTC(2026, 5, 15, 1, 2, 3, 123) };
    await using harness = await startPublisher(`redis://:${encoded}@127.0.0.1:${redis.port}/0`, {}, { clock });
    const record = sandboxRecord({ name: "sb-1", namespace: "ns" });
    harness.publisher.offer({ record, port: 8080, path: "/x", renews: true });
    await eventually(() => harness.publisher.stats().published === 1);
    expect(await redis.cli(["lrange", QUEUE_KEY, "0", "-1"], login)).toBe(
      '{"sandbox_id":"sb-1","observed_at":"2026-06-15T01:02:03.123Z","port":8080,"request_uri":"/x","namespace":"ns"}',
    );
    expect(harness.states()).toEqual(["info"]);
  });

  const forms: [form: string, dsn: () => string, database: number, ca: boolean][] = [
    ["redis:// with a password", () => `redis://:${encoded}@127.0.0.1:${redis.port}`, 0, false],
    ["redis:// with a user of few rights", () => `redis://renewer:${encoded}@localhost:${redis.port}/0`, 0, false],
    ["redis:// with a database in the path", () => `redis://:${encoded}@127.0.0.1:${redis.port}/3`, 3, false],
    ["redis:// with a database in the query", () => `redis://:${encoded}@127.0.0.1:${redis.port}?db=4`, 4, false],
    ["rediss:// with a CA file", () => `rediss://:${encoded}@localhost:${redis.tlsPort}/1`, 1, true],
    ["unix:// with a password", () => `unix://:${encoded}@${redis.socketPath}`, 0, false],
    ["unix:// with a user and a database", () => `unix://renewer:${encoded}@${redis.socketPath}?db=5`, 5, false],
  ];
  test.each(forms)("RedisPublisher publishes over %s", async (_form, dsn, database, ca) => {
    await clear();
    await using harness = await startPublisher(dsn(), { redisCaFile: ca ? redis.caFile : undefined });
    harness.use("sb-1");
    await eventually(() => harness.publisher.stats().published === 1);
    expect(await ids({ database })).toEqual(["sb-1"]);
  });

  const refusals: [what: string, dsn: () => string, state: string, ca: boolean][] = [
    ["a wrong password", () => `redis://:wrong@127.0.0.1:${redis.port}`, "warn auth", false],
    ["no password", () => `redis://127.0.0.1:${redis.port}`, "warn auth", false],
    ["a database that is none", () => `redis://:${encoded}@127.0.0.1:${redis.port}/99`, "warn other", false],
    ["a certificate of an unknown CA", () => `rediss://:${encoded}@localhost:${redis.tlsPort}`, "warn tls", false],
    ["a certificate for another name", () => `rediss://:${encoded}@127.0.0.1:${redis.tlsPort}`, "warn tls", true],
    ["plain text to a TLS port", () => `redis://:${encoded}@127.0.0.1:${redis.tlsPort}`, "warn closed", false],
    ["TLS to a plain port", () => `rediss://:${encoded}@localhost:${redis.port}`, "warn timeout", true],
    ["a socket that is missing", () => `unix://${redis.socketPath}.none`, "warn refused", false],
  ];
  test.each(refusals)(
    "RedisPublisher says once that it cannot publish with %s, and no secret",
    async (_what, dsn, state, ca) => {
      await using harness = await startPublisher(dsn(), { redisCaFile: ca ? redis.caFile : undefined });
      harness.use("sb-1");
      await eventually(() => harness.publisher.stats().failed >= 2);
      expect(harness.states()).toEqual([state]);
      expect(harness.publisher.stats()).toMatchObject({ published: 0, queued: 1, healthy: false });
      const log = JSON.stringify(harness.lines);
      for (const secret of [PASSWORD, encoded, "wrong"]) expect(log).not.toContain(secret);
    },
  );

  test("RedisPublisher reports an unreadable CA file, and uses it once it exists", async () => {
    await clear();
    const redisCaFile = `${redis.caFile}.later`;
    const dsn = `rediss://:${encoded}@localhost:${redis.tlsPort}`;
    await using harness = await startPublisher(dsn, { redisCaFile });
    await eventually(() => harness.states().includes("warn ca-file"));
    await Bun.write(redisCaFile, "no certificate");
    const { failed } = harness.publisher.stats();
    await eventually(() => harness.publisher.stats().failed >= failed + 2);
    await Bun.write(redisCaFile, Bun.file(redis.caFile));
    harness.use("sb-1");
    await eventually(() => harness.publisher.stats().published === 1);
    expect(harness.states()).toEqual(["warn ca-file", "info"]);
  });

  test("RedisPublisher cuts the list to its maximum, keeping the newest", async () => {
    await clear();
    const dsn = `redis://:${encoded}@127.0.0.1:${redis.port}`;
    await using harness = await startPublisher(dsn, { queueMaxLength: 3 });
    for (const name of ["a", "b", "c", "d", "e"]) harness.use(name);
    await eventually(() => harness.publisher.stats().published === 5);
    expect(await ids()).toEqual(["e", "d", "c"]);
  });

  test("RedisPublisher without a maximum cuts nothing, and keeps the order over many batches", async () => {
    await clear();
    await using harness = await startPublisher(`redis://:${encoded}@127.0.0.1:${redis.port}`, { queueKey: "other" });
    const names = Array.from({ length: 1_000 }, (_, index) => `sb-${index}`);
    for (const name of names) harness.use(name);
    await eventually(() => harness.publisher.stats().published === 1_000);
    expect(await ids({ key: "other" })).toEqual(names.toReversed());
  });

  test("RedisPublisher publishes one intent for each sandbox and interval, and again once it is forgotten", async () => {
    await clear();
    const dsn = `redis://:${encoded}@127.0.0.1:${redis.port}`;
    await using harness = await startPublisher(dsn, { minIntervalMs: 60_000 });
    for (const name of ["a", "a", "b", "a"]) harness.use(name);
    harness.publisher.forget(sandboxRecord({ name: "a", uid: "uid of a" }));
    harness.use("a");
    await eventually(() => harness.publisher.stats().published === 3);
    expect(await ids()).toEqual(["a", "b", "a"]);
    expect(harness.publisher.stats()).toMatchObject({ throttled: 2, dropped: 0, queued: 0, failed: 0, healthy: true });
  });

  test("RedisPublisher.stop flushes queued intents, closes, and accepts no more", async () => {
    await clear();
    const harness = await startPublisher(`redis://:${encoded}@127.0.0.1:${redis.port}`);
    for (let index = 0; index < 700; index += 1) harness.use(`sb-${index}`);
    await Promise.all([harness.publisher.stop(10_000), harness.publisher.stop(10_000)]);
    expect(await redis.cli(["llen", QUEUE_KEY], login)).toBe("700");
    harness.use("late");
    expect(harness.publisher.stats()).toMatchObject({ published: 700, dropped: 1, queued: 0 });
    await eventually(async () => (await clients()) === 1);
  });

  test("RedisPublisher publishes over a connection that the server closed while it was idle, without a word", async () => {
    await clear();
    await using harness = await startPublisher(`redis://:${encoded}@127.0.0.1:${redis.port}`);
    harness.use("a");
    await eventually(() => harness.publisher.stats().published === 1);
    await redis.cli(["client", "kill", "type", "normal", "skipme", "yes"], login);
    await eventually(async () => (await clients()) === 1);
    harness.use("b");
    await eventually(() => harness.publisher.stats().published === 2);
    expect(await ids()).toEqual(["b", "a"]);
    expect(harness.states()).toEqual(["info"]);
  });
});

test.skipIf(!hasRedis)("RedisPublisher publishes to a Redis older than HELLO", async () => {
  await using redis = await startRedis('rename-command HELLO ""', "requirepass secret");
  await using harness = await startPublisher(`redis://:secret@127.0.0.1:${redis.port}/1`);
  harness.use("a");
  await eventually(() => harness.publisher.stats().published === 1);
  expect(await publishedIds(redis, { password: "secret", database: 1 })).toEqual(["a"]);
});

test("RedisPublisher refuses a DSN that cannot be parsed, without showing it", async () => {
  const refusal = await startPublisher("redis://u:hunter2%zz@h").then(() => "started", String);
  expect(refusal).toBe("Error: Cannot parse Redis DSN: password is not percent-encoded UTF-8");
});
