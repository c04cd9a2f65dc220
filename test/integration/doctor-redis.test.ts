import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { parseConfig } from "../../src/config/parse-config.ts";
import type { FindingState } from "../../src/doctor/finding.ts";
import { checkRedis } from "../../src/doctor/redis.ts";
import { findFreePort } from "../../scripts/lib/free-port.ts";
import { hasRedis, type RedisServer, startRedis } from "../support/redis-server.ts";
import { expectFinding } from "../support/finding.ts";

const PASSWORD = "hunter2-hunter2";
const login = { password: PASSWORD };
const KEY = "opensandbox:renew:intent";

function check(dsn: string, ...flags: readonly string[]) {
  const parsed = parseConfig(
    ["--namespace=a", "--renew-intent-enabled", `--renew-intent-redis-dsn=${dsn}`, ...flags],
    {},
  );
  if (parsed.kind !== "run") throw new Error(JSON.stringify(parsed));
  return checkRedis(parsed.config, systemClock);
}

describe.skipIf(!hasRedis)("checkRedis with a real Redis", () => {
  let redis: RedisServer;
  beforeAll(async () => {
    const user = (name: string, rights: string) => `user ${name} on ">${PASSWORD}" ${rights}`;
    redis = await startRedis(
      `requirepass "${PASSWORD}"`,
      user("all", "~opensandbox:* +@all"),
      user("least", "~opensandbox:* +lpush +ltrim"),
      user("rehearser", "~opensandbox:* +lpush +multi +discard"),
      user("nopush", "~opensandbox:* +ltrim +llen +multi +discard"),
      user("nokey", "~other:* +@all"),
    );
  });
  afterAll(() => redis[Symbol.asyncDispose]());
  const dsn = (user: string, password = PASSWORD) => `redis://${user}:${password}@127.0.0.1:${redis.port}/0`;

  const rows: [user: string, flags: string[], state: FindingState, text: string][] = [
    ["all", [], "ok", "intents would be accepted, 0 intents wait"],
    ["all", ["--renew-intent-queue-max-len=9"], "ok", "intents would be accepted"],
    ["rehearser", [], "ok", "intents would be accepted"],
    ["rehearser", ["--renew-intent-queue-max-len=9"], "fail", "permit LTRIM on the key opensandbox:renew:intent"],
    ["nopush", [], "fail", "permit LPUSH on the key opensandbox:renew:intent"],
    ["nokey", [], "fail", "NOPERM"],
    ["least", [], "warn", "permit MULTI and DISCARD"],
  ];
  test.each(rows)("checkRedis judges the user %s with %j, and publishes nothing", async (user, flags, state, text) => {
    const finding = await check(dsn(user), ...flags);
    expect(finding.state).toBe(state);
    expect(JSON.stringify(finding)).toContain(text);
    expect(JSON.stringify(finding)).not.toContain(PASSWORD);
    expect(await redis.cli(["keys", "*"], login)).toBe("");
  });

  test("checkRedis says that the password is wrong, without showing it", async () => {
    const finding = await check(dsn("all", "wrong-hunter2"));
    expect(finding).toMatchObject({ state: "fail", remedy: "correct the user and password in the address" });
    expect(JSON.stringify(finding)).not.toContain("hunter2");
  });

  test("checkRedis says that the key holds no list, and how long a list is", async () => {
    await redis.cli(["set", KEY, "x"], login);
    expectFinding(await check(dsn("all")), "fail", "WRONGTYPE");
    await redis.cli(["del", KEY], login);
    await redis.cli(["lpush", KEY, "x", "y"], login);
    expect((await check(dsn("all"), "--renew-intent-queue-max-len=1")).detail).toContain("2 intents wait");
    expect(await redis.cli(["llen", KEY], login)).toBe("2");
    await redis.cli(["del", KEY], login);
  });

  test("checkRedis says that this is a replica", async () => {
    await redis.cli(["replicaof", "127.0.0.1", "1"], login);
    expect(await check(dsn("all"))).toMatchObject({ state: "fail", remedy: "name the primary, not a replica" });
    await redis.cli(["replicaof", "no", "one"], login);
  });

  test("checkRedis fails for a Redis that hangs, within its time", async () => {
    redis.freeze();
    try {
      expectFinding(await check(dsn("all")), "fail", "timeout");
    } finally {
      redis.thaw();
    }
  });
});

test("checkRedis fails where nobody listens, and is skipped where renewing is off", async () => {
  expectFinding(await check(`redis://127.0.0.1:${findFreePort()}`), "fail", "refused");
  expect((await check("redis://127.0.0.1", "--renew-intent-enabled=false")).state).toBe("skip");
});
