import { describe, expect, test } from "bun:test";
import { connect as connectTls } from "node:tls";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import { connectRedis, REDIS_REPLY_MAX_BYTES } from "../../src/renew/redis-client.ts";
import { parseRedisDsn } from "../../src/renew/redis-dsn.ts";
import { RedisFault } from "../../src/renew/redis-fault.ts";
import { readRedisDsnFile } from "../../src/renew/redis-dsn-file.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { hasRedis, startRedis } from "../support/redis-server.ts";
import { startPublisher } from "../support/renew-harness.ts";
import { tempDir } from "../support/temp-dir.ts";

/** A Redis that writes what it likes: `greet` to the first bytes of each connection, then `flood` as long as it is taken. */
function startHostileRedis(greet: string, flood = "") {
  const open = new Set<Bun.Socket>();
  let taken = 0;
  const pour = (socket: Bun.Socket): void => {
    if (flood === "") return;
    for (;;) {
      const written = socket.write(flood);
      if (written <= 0) return;
      taken += written;
      if (written < flood.length) return;
    }
  };
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open: (socket) => void open.add(socket),
      close: (socket) => void open.delete(socket),
      error() {},
      data(socket) {
        socket.write(greet);
        pour(socket);
      },
      drain: pour,
    },
  });
  return {
    dsn: `redis://127.0.0.1:${listener.port}`,
    open,
    /** Bytes of the flood that the kernel has taken. */
    taken: () => taken,
    [Symbol.dispose]: () => listener.stop(true),
  };
}

const connectTo = (dsn: string) =>
  connectRedis(parseRedisDsn(dsn), { clock: systemClock, caFile: undefined }).then(
    () => "connected",
    (error: unknown) => (error instanceof RedisFault ? error.reason : error),
  );

const MIB = "x".repeat(1024 * 1024);

describe("connectRedis with a hostile server", () => {
  test.each([
    ["announces 800 MB in one value", "$800000000\r\n", MIB],
    ["announces a million values", "*1000000\r\n", `$1048576\r\n${MIB}\r\n`],
    ["never ends its line", "+", MIB],
    ["ends its line late", `+${"x".repeat(REDIS_REPLY_MAX_BYTES)}\r\n`, ""],
    ["answers what was not asked", "+PONG\r\n+PONG\r\n", ""],
    ["answers an empty line", "\r\n", ""],
    ["speaks HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n", ""],
  ])("closes the connection, and holds next to nothing, when it %s", async (what, greet, flood) => {
    using redis = startHostileRedis(greet, flood);
    const isLate = what === "answers what was not asked";
    expect(await connectTo(redis.dsn)).toBe(isLate ? "connected" : "protocol");
    await eventually(() => redis.open.size === 0);
    // What the two kernels hold between us, and no more: it was never read on.
    expect(redis.taken()).toBeLessThan(32 * 1024 * 1024);
  });

  test("fails commands in flight when an answer is not a line", async () => {
    const replies = ["+PONG\r\n", "$5\r\nhello\r\n"];
    using listener = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: { data: (socket) => void socket.write(replies.shift() ?? "") },
    });
    const connection = await connectRedis(parseRedisDsn(`redis://127.0.0.1:${listener.port}`), {
      clock: systemClock,
      caFile: undefined,
    });
    const pushed = connection.push("key", ["value"]).catch((error: unknown) => error);
    expect(await pushed).toMatchObject({ reason: "protocol" });
    expect(connection.isOpen()).toBe(false);
  });

  test("puts replies together that come byte by byte", async () => {
    using listener = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        async data(socket) {
          for (const byte of "-NOAUTH Authentication required.\r\n") {
            socket.write(byte);
            socket.flush();
            await Bun.sleep(0);
          }
        },
      },
    });
    expect(await connectTo(`redis://127.0.0.1:${listener.port}`)).toBe("auth");
  });
});

describe.skipIf(!hasRedis)("connectRedis over TLS", () => {
  test("verifies the certificate for any value of NODE_TLS_REJECT_UNAUTHORIZED", async () => {
    await using redis = await startRedis();
    const before = process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
    process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";
    try {
      // The variable works: who does not ask for more connects.
      await new Promise<void>((resolve, reject) => {
        const lax = connectTls({ host: "localhost", port: redis.tlsPort }, () => {
          lax.destroy();
          resolve();
        });
        lax.once("error", reject);
      });
      expect(await connectTo(`rediss://:secret@localhost:${redis.tlsPort}`)).toBe("tls");
    } finally {
      if (before === undefined) delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
      else process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = before;
    }
  });

  test("RedisPublisher publishes to the address in a file, and never logs it", async () => {
    await using redis = await startRedis('requirepass "hush-hush"');
    using dir = tempDir();
    const redisDsnFile = join(dir.path, "dsn");
    await Bun.write(redisDsnFile, `redis://:hush-hush@127.0.0.1:${redis.port}/2\n`);
    await using harness = await startPublisher("", { redisDsnFile });
    harness.use("sb-1");
    await eventually(() => harness.publisher.stats().published === 1);
    expect(await redis.cli(["llen", "opensandbox:renew:intent"], { password: "hush-hush", database: 2 })).toBe("1");
    expect(JSON.stringify(harness.lines)).not.toContain("hush");
  });
});

describe("readRedisDsnFile", () => {
  test.each([
    ["is missing", undefined, "ENOENT"],
    ["is empty", "", "expected redis://"],
    ["holds something else", "http://user:hush-hush@host", "expected redis://"],
    ["holds a database that is not a number", "redis://:hush-hush@host/x", "the database must be"],
    ["is too large", `redis://:hush-hush@host/${" ".repeat(20_000)}`, "larger than 16384 bytes"],
  ])("names the file and the fault, and nothing that the file holds, when it %s", async (_what, text, fault) => {
    using dir = tempDir();
    const path = join(dir.path, "dsn");
    if (text !== undefined) await Bun.write(path, text);
    const message = await readRedisDsnFile(path).then(
      () => "",
      (error: unknown) => String(error),
    );
    expect(message).toContain(path);
    expect(message).toContain(fault);
    expect(message).not.toContain("hush");
  });

  test("reads no more of an endless file than it may hold", async () => {
    const message = await readRedisDsnFile("/dev/zero").catch((error: unknown) => String(error));
    expect(message).toContain("larger than");
  });
});
