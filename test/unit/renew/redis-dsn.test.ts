import { describe, expect, test } from "bun:test";
import { parseRedisDsn, type RedisTarget } from "../../../src/renew/redis-dsn.ts";
import { createRandom } from "../../../scripts/lib/stage/random.ts";

const local: RedisTarget = {
  address: { host: "localhost", port: 6379 },
  tls: false,
  username: undefined,
  password: undefined,
  database: 0,
  label: "localhost:6379/0",
};
const socket: RedisTarget = { ...local, address: { path: "/run/redis.sock" }, label: "/run/redis.sock db 0" };
const at = (host: string, port: number): RedisTarget => ({
  ...local,
  address: { host, port },
  label: `${host.includes(":") ? `[${host}]` : host}:${port}/0`,
});

describe("parseRedisDsn reads", () => {
  const cases: [dsn: string, target: RedisTarget][] = [
    ["redis://127.0.0.1:6379/0", at("127.0.0.1", 6379)],
    ["redis://", local],
    ["redis:///", local],
    ["redis://:7000", at("localhost", 7000)],
    ["  redis://r.example\n", at("r.example", 6379)],
    ["REDIS://r.example:1/", at("r.example", 1)],
    ["redis://[fd00::1]:7000", at("fd00::1", 7000)],
    ["redis://[::1]", at("::1", 6379)],
    ["rediss://r.example", { ...at("r.example", 6379), tls: true }],
    ["redis://r.example/3", { ...at("r.example", 6379), database: 3, label: "r.example:6379/3" }],
    ["redis://r.example?db=4", { ...at("r.example", 6379), database: 4, label: "r.example:6379/4" }],
    ["redis://r.example/3?db=4", { ...at("r.example", 6379), database: 4, label: "r.example:6379/4" }],
    ["redis://r.example?dial_timeout=3s&pool_size=5", at("r.example", 6379)],
    ["redis://:secret@r.example", { ...at("r.example", 6379), password: "secret" }],
    ["redis://user:secret@r.example", { ...at("r.example", 6379), username: "user", password: "secret" }],
    ["redis://u%3Aser:p%40ss%3A%2Fw%25rd%20+ä@h", { ...at("h", 6379), username: "u:ser", password: "p@ss:/w%rd +ä" }],
    ["redis://user:p@ss:word@h", { ...at("h", 6379), username: "user", password: "p@ss:word" }],
    ["redis://user@h", at("h", 6379)],
    ["redis://user:@h", at("h", 6379)],
    ["unix:///run/redis.sock", socket],
    ["unix://user:pass@/run/redis.sock", { ...socket, username: "user", password: "pass" }],
    ["unix://:pass@/run/redis.sock?db=2", { ...socket, password: "pass", database: 2, label: "/run/redis.sock db 2" }],
    [
      "unix:///run/my%20redis.sock",
      { ...socket, address: { path: "/run/my redis.sock" }, label: "/run/my redis.sock db 0" },
    ],
  ];
  test.each(cases)("%s", (dsn, target) => {
    expect(parseRedisDsn(dsn)).toEqual(target);
  });
});

describe("parseRedisDsn refuses, without repeating it,", () => {
  const secret = "hunter2";
  const cases = [
    secret,
    `http://${secret}@h`,
    `redis:/${secret}`,
    `redis://u:${secret}%zz@h`,
    `redis://u:${secret}%ff@h`,
    `redis://u:${secret}#@h`,
    `redis://u:${secret}/x@h`,
    `redis://u:x?${secret}@h`,
    `redis://h:${secret}`,
    `redis://h/${secret}`,
    `redis://h?db=${secret}`,
    `redis://h?${secret}=1`,
    `redis://h#${secret}`,
    `redis://${secret} x`,
    `redis://[${secret}]`,
    `unix://${secret}`,
    `unix://u:${secret}@`,
    `unix://${secret}/x`,
  ];
  test.each(cases)("%s", (dsn) => {
    expect(() => parseRedisDsn(dsn)).toThrow("Cannot parse Redis DSN: ");
    expect(() => parseRedisDsn(dsn)).not.toThrow(secret);
  });

  test.each([
    "redis://h:0",
    "redis://h:65536",
    "redis://h/65536",
    "redis://h/1/2",
    "redis://h/-1",
    "redis://h?db=",
    "$(DSN)",
    "",
  ])("%p", (dsn) => {
    expect(() => parseRedisDsn(dsn)).toThrow("Cannot parse Redis DSN: ");
  });
});

test("parseRedisDsn decodes any percent-encoded text", () => {
  const random = createRandom(3);
  const alphabet = [
    "a",
    "b",
    ..."/?#@%[]$&".split(""),
    ":",
    " ",
    "\u00e4",
    "\u{1f600}",
    "\u0000",
    '"',
    "'",
    "\\",
  ] as const;
  for (let round = 0; round < 5_000; round += 1) {
    const password = Array.from({ length: 1 + random.integer(12) }, () => random.pick(alphabet)).join("");
    const username = Array.from({ length: random.integer(6) }, () => random.pick(alphabet)).join("");
    const login = `${encodeURIComponent(username)}:${encodeURIComponent(password)}`;
    for (const dsn of [`redis://${login}@h:1/2`, `unix://${login}@/s?db=2`]) {
      const target = parseRedisDsn(dsn);
      expect([target.username ?? "", target.password, target.database]).toEqual([username, password, 2]);
    }
  }
});

test("parseRedisDsn throws nothing but its own error on random text, and no label shows a password", () => {
  const random = createRandom(5);
  const pieces = [
    "redis",
    "rediss",
    "unix",
    "://",
    ":",
    "/",
    "@",
    "?",
    "#",
    "db=",
    "[",
    "]",
    "%",
    "%41",
    "1",
    "h",
    ".",
  ] as const;
  let parsed = 0;
  for (let round = 0; round < 50_000; round += 1) {
    const text = `redis://${Array.from({ length: random.integer(10) }, () => random.pick(pieces)).join("")}`;
    try {
      const { label, password } = parseRedisDsn(text);
      parsed += 1;
      if (password !== undefined) expect(label).not.toContain("@");
    } catch (error) {
      expect(String(error)).toStartWith("Error: Cannot parse Redis DSN: ");
    }
  }
  expect(parsed).toBeGreaterThan(100);
});
