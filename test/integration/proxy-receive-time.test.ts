import { describe, expect, test } from "bun:test";

import { eventually } from "../../scripts/lib/eventually.ts";
import { startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw } from "../../scripts/lib/stage/raw-client.ts";
import { startRawUpstream } from "../support/raw-upstream.ts";

const NOTHING_OPEN = { exchanges: 0, clients: 0, heldBytes: 0, tunnels: 0 };
const LARGE = 2_000_000;
/** Too long for one read, and too short for a stream. */
const COLLECTED = 60_000;
const OK = "HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: 2\r\n\r\nok";

const postOf = (port: number, framing: string): string =>
  `POST / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${port}\r\n${framing}\r\n\r\n`;

/** Bodies that begin and stop. */
const HALVES: readonly (readonly [string, string, string])[] = [
  ["small", "Content-Length: 100", "x"],
  ["small, of which nothing came", "Content-Length: 100", ""],
  ["collected", `Content-Length: ${COLLECTED}`, "x".repeat(20_000)],
  ["collected, of which nothing came", `Content-Length: ${COLLECTED}`, ""],
  ["large", `Content-Length: ${LARGE}`, "x".repeat(20_000)],
  ["large, of which nothing came", `Content-Length: ${LARGE}`, ""],
  ["chunked", "Transfer-Encoding: chunked", "5\r\nhello\r\n"],
  ["chunked, of which half a chunk came", "Transfer-Encoding: chunked", "50\r\nhello"],
];

/** A proxy in front of a sandbox that reads everything. */
async function startStage(config: Parameters<typeof startProxy>[0]) {
  const proxy = startProxy(config);
  proxy.provider.set({ name: "sb" });
  const sandbox = await startRawUpstream(OK);
  const client = await openRaw(proxy.port);
  return {
    proxy,
    sandbox,
    client,
    async [Symbol.asyncDispose]() {
      client.destroy();
      await proxy[Symbol.asyncDispose]();
      await sandbox[Symbol.asyncDispose]();
    },
  };
}

describe("a body that stops", () => {
  test.each(HALVES)("is answered with 408 after --client-idle-timeout (%s)", async (_name, framing, half) => {
    await using stage = await startStage({ clientIdleTimeoutMs: 400 });
    stage.client.write(postOf(stage.sandbox.port, framing) + half);
    await stage.client.until((text) => text.includes("\r\n\r\n"));
    expect(stage.client.received).toStartWith("HTTP/1.1 408 ");
    await eventually(() => stage.proxy.server.inFlight() === 0 && stage.sandbox.open.size === 0);
    expect(stage.proxy.server.counters()).toEqual(NOTHING_OPEN);
    expect(stage.proxy.accessLog.at(-1)).toMatchObject({ status: 408, code: "client_timeout" });
  });

  test.each(HALVES)("ends with its sandbox (%s)", async (_name, framing, half) => {
    await using stage = await startStage({});
    stage.client.write(postOf(stage.sandbox.port, framing) + half);
    await eventually(() => stage.proxy.server.inFlight() === 1);
    stage.proxy.provider.table.remove("default", "sb");
    await stage.client.until((text) => text.includes("\r\n\r\n"));
    expect(stage.client.received).toStartWith("HTTP/1.1 502 ");
    await eventually(() => stage.proxy.server.inFlight() === 0 && stage.sandbox.open.size === 0);
    expect(stage.proxy.server.counters()).toEqual(NOTHING_OPEN);
    expect(stage.proxy.accessLog.at(-1)).toMatchObject({ status: 502, code: "sandbox_replaced" });
  });

  test("takes no place from others for longer than the limit", async () => {
    await using stage = await startStage({ clientIdleTimeoutMs: 400, maxRequests: 20 });
    const clients = await Promise.all(Array.from({ length: 10 }, () => openRaw(stage.proxy.port)));
    for (const client of clients) client.write(postOf(stage.sandbox.port, "Content-Length: 100"));
    for (const client of clients) expect(await client.until((text) => text.includes("408"))).toContain("408");
    stage.client.write(`GET / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${stage.sandbox.port}\r\n\r\n`);
    expect((await stage.client.readAnswer()).status).toBe(200);
    for (const client of clients) client.destroy();
  });

  test("is not limited by --client-idle-timeout once an answer has begun", async () => {
    await using proxy = startProxy({ clientIdleTimeoutMs: 300 });
    proxy.provider.set({ name: "sb" });
    const head = "HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n";
    await using sandbox = await startRawUpstream(head, { early: true });
    const client = await openRaw(proxy.port);
    client.write(postOf(sandbox.port, `Content-Length: ${LARGE}`) + "x".repeat(20_000));
    await client.until((text) => text.includes("begin"));
    // Another stalled body shows when the limit has struck.
    const other = await openRaw(proxy.port);
    other.write(postOf(sandbox.port, "Content-Length: 10"));
    await other.until((text) => text.includes("408"));
    for (const socket of sandbox.open) socket.write("3\r\nend\r\n0\r\n\r\n");
    expect((await client.readAnswer()).body).toBe("beginend");
    client.destroy();
    other.destroy();
  });
});

describe("a body that goes on", () => {
  test.each([
    ["chunked", "Transfer-Encoding: chunked", "1\r\nx\r\n", "0\r\n\r\n"],
    ["collected", `Content-Length: ${COLLECTED}`, "x".repeat(COLLECTED / 20), ""],
    ["large", `Content-Length: ${LARGE}`, "x".repeat(LARGE / 20), ""],
  ])(
    "is not ended, however long it takes in total (%s)",
    async (_name, framing, piece, last) => {
      const limitMs = 2_000;
      await using stage = await startStage({ clientIdleTimeoutMs: limitMs });
      const startedAt = performance.now();
      stage.client.write(postOf(stage.sandbox.port, framing));
      // Twenty pieces. The last one comes after twice the limit.
      for (let n = 1; n <= 20; n++) {
        stage.client.write(piece);
        await eventually(() => performance.now() - startedAt > (n * limitMs) / 10);
      }
      if (last !== "") stage.client.write(last);
      expect((await stage.client.readAnswer()).status).toBe(200);
    },
    30_000,
  );

  test("that a sandbox does not read is not the client's fault: no 408 while its bytes wait", async () => {
    await using proxy = startProxy({ clientIdleTimeoutMs: 300 });
    proxy.provider.set({ name: "sb" });
    await using sandbox = await startRawUpstream((socket) => void socket.pause(), { early: true });
    const client = await openRaw(proxy.port);
    client.write(postOf(sandbox.port, "Content-Length: 50000000") + "x".repeat(40_000_000));
    await eventually(() => sandbox.open.size === 1);
    const other = await openRaw(proxy.port);
    other.write(postOf(sandbox.port, "Content-Length: 10"));
    await other.until((text) => text.includes("408"));
    expect(client.received).toBe("");
    expect(proxy.server.inFlight()).toBe(1);
    // Bun does not read this client now, so it does not see it leave. The end of the sandbox ends it in any case.
    proxy.provider.table.remove("default", "sb");
    await eventually(() => proxy.server.inFlight() === 0);
    client.destroy();
    other.destroy();
  });
});

describe("--stream-idle-timeout", () => {
  test.each([COLLECTED, LARGE])("ends an upload of %d bytes whose client stops, with 408", async (length) => {
    await using stage = await startStage({ streamIdleTimeoutMs: 400, clientIdleTimeoutMs: 0 });
    stage.client.write(postOf(stage.sandbox.port, `Content-Length: ${length}`) + "x");
    expect(await stage.client.until((text) => text.includes("\r\n\r\n"))).toStartWith("HTTP/1.1 408 ");
    await eventually(() => stage.proxy.server.inFlight() === 0 && stage.sandbox.open.size === 0);
  });

  test("ends an upload that its sandbox does not read, with 504", async () => {
    await using proxy = startProxy({ streamIdleTimeoutMs: 600, clientIdleTimeoutMs: 0 });
    proxy.provider.set({ name: "sb" });
    await using sandbox = await startRawUpstream((socket) => void socket.pause(), { early: true });
    const client = await openRaw(proxy.port);
    client.write(postOf(sandbox.port, "Content-Length: 50000000") + "x".repeat(40_000_000));
    await eventually(() => proxy.accessLog.length === 1);
    expect(proxy.accessLog).toMatchObject([{ status: 504, code: "upstream_timeout" }]);
    client.destroy();
    await eventually(() => proxy.server.inFlight() === 0 && sandbox.open.size === 0);
    expect(proxy.server.counters()).toEqual(NOTHING_OPEN);
  });
});

describe("--response-timeout", () => {
  test.each([
    ["chunked", "Transfer-Encoding: chunked", "5\r\nhello\r\n", "0\r\n\r\n"],
    ["large", `Content-Length: ${LARGE}`, "x".repeat(20_000), "x".repeat(LARGE - 20_000)],
  ])("does not count the time in which the client owes its body (%s)", async (_name, framing, first, rest) => {
    await using stage = await startStage({ responseTimeoutMs: 400 });
    await using silent = await startRawUpstream(() => {}, { early: true });
    stage.client.write(postOf(stage.sandbox.port, framing) + first);
    await eventually(() => stage.sandbox.open.size === 1);
    // This one begins later and waits for its sandbox, so the limit has passed for both.
    const other = await openRaw(stage.proxy.port);
    other.write(postOf(silent.port, "Content-Length: 0"));
    expect((await other.readAnswer()).status).toBe(504);
    stage.client.write(rest);
    expect((await stage.client.readAnswer()).status).toBe(200);
    other.destroy();
  });

  test("counts from the end of the body, however late it comes after the last byte", async () => {
    await using stage = await startStage({ responseTimeoutMs: 3_000 });
    stage.proxy.provider.set({ name: "hasty", policy: { responseTimeoutMs: 50 } });
    await using sandbox = await startRawUpstream(() => {}, { early: true });
    const clients = await Promise.all([openRaw(stage.proxy.port), openRaw(stage.proxy.port)]);
    const [other, hasty] = clients;
    stage.client.write(`${postOf(sandbox.port, "Transfer-Encoding: chunked")}5\r\nhello\r\n`);
    await eventually(() => sandbox.open.size === 1);
    const [uploading] = sandbox.open;
    // The limit passes while the client owes the end.
    other.write(postOf(sandbox.port, "Content-Length: 0"));
    expect((await other.readAnswer()).status).toBe(504);
    stage.client.write("0\r\n\r\n");
    // The ingress looks at all limits before it ends this one.
    hasty.write(postOf(sandbox.port, "Content-Length: 0").replace("sb-", "hasty-"));
    expect((await hasty.readAnswer()).status).toBe(504);
    uploading?.write(OK);
    expect((await stage.client.readAnswer()).status).toBe(200);
    for (const client of clients) client.destroy();
  });
});
