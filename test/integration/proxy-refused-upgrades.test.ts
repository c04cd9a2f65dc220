import { describe, expect, test } from "bun:test";

import type { Socket } from "node:net";

import { eventually } from "../../scripts/lib/eventually.ts";
import { startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { type RawUpstream, startRawUpstream } from "../support/raw-upstream.ts";

const MIB = 1024 * 1024;

const upgradeOf = (name: string, port: number): string =>
  `GET /terminal HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: ${name}-${port}\r\nConnection: Upgrade\r\n` +
  "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const plainOf = (name: string, port: number): string =>
  `GET /plain HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: ${name}-${port}\r\n\r\n`;

const HALF_REFUSAL = "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nonly this";
const STREAMED_REFUSAL =
  "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n";
const NOTHING_OPEN = { exchanges: 0, clients: 0, heldBytes: 0, tunnels: 0 };

/** A proxy in front of a sandbox that answers handshakes with these bytes. */
async function startStage(refusal: string, config: Parameters<typeof startProxy>[0] = {}) {
  const proxy = startProxy(config);
  proxy.provider.set({ name: "sb" });
  const sandbox: RawUpstream = await startRawUpstream(refusal);
  const open = async () => {
    const before = sandbox.requests.length;
    const client = await openRaw(proxy.port);
    client.write(upgradeOf("sb", sandbox.port));
    await eventually(() => sandbox.requests.length > before);
    return client;
  };
  const isAllGone = (): boolean => sandbox.open.size === 0 && proxy.server.inFlight() === 0;
  return {
    proxy,
    sandbox,
    open,
    isAllGone,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await sandbox[Symbol.asyncDispose]();
    },
  };
}

describe("a refused upgrade whose body never ends", () => {
  test.each([
    ["Content-Length", HALF_REFUSAL],
    ["chunked", STREAMED_REFUSAL],
    ["a length that is never begun", "HTTP/1.1 500 No\r\nContent-Type: t/x\r\nContent-Length: 5\r\n\r\n"],
    ["no framing", "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n\r\nonly this"],
  ])("ends with its client (%s): nothing stays open or counted", async (_name, refusal) => {
    await using stage = await startStage(refusal);
    for (let n = 0; n < 5; n++) {
      const client = await stage.open();
      client.destroy();
    }
    await eventually(stage.isAllGone);
    expect(stage.proxy.server.counters()).toEqual(NOTHING_OPEN);
    expect(stage.proxy.accessLog.filter(({ code }) => code === "client_closed").length).toBe(5);
  });

  test.each([
    ["Content-Length", HALF_REFUSAL, " more of the old tenant"],
    ["chunked", STREAMED_REFUSAL, "f\r\n from old tenant\r\n"],
  ])("ends with its sandbox (%s): no byte of the old tenant arrives afterwards", async (_name, refusal, more) => {
    await using stage = await startStage(refusal);
    const client = await stage.open();
    await client.until((text) => text.includes("begin") || text.includes("only this"));
    const [socket] = stage.sandbox.open;
    stage.proxy.provider.table.remove("default", "sb");
    socket?.write(more);
    const received = await client.closed();
    expect(received).not.toContain("old tenant");
    expect(received).not.toContain("\r\n0\r\n");
    await eventually(stage.isAllGone);
    expect(stage.proxy.server.counters()).toEqual(NOTHING_OPEN);
    expect(stage.proxy.accessLog.at(-1)).toMatchObject({ code: "sandbox_replaced" });
  });

  test("ends with --stream-idle-timeout", async () => {
    await using stage = await startStage(STREAMED_REFUSAL, { streamIdleTimeoutMs: 400 });
    const client = await stage.open();
    expect(await client.closed()).toContain("begin");
    await eventually(stage.isAllGone);
    expect(stage.proxy.accessLog.at(-1)).toMatchObject({ status: 403, code: "upstream_timeout" });
  });

  test("ends with the drain, which does not wait longer than its limit", async () => {
    await using stage = await startStage(HALF_REFUSAL);
    const clients = [await stage.open(), await stage.open()];
    await stage.proxy.server.drain(100);
    expect(stage.proxy.server.counters()).toEqual(NOTHING_OPEN);
    for (const client of clients) client.destroy();
  });

  test("gives its memory back, so that the answers of others keep their length", async () => {
    const refusal = `HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: ${MIB}\r\n\r\nbegin`;
    await using stage = await startStage(refusal, { budgetBytes: 64 * MIB });
    const clients = [];
    for (let n = 0; n < 64; n++) clients.push(await stage.open());
    // Half of the clients leave. The others see their sandbox go.
    for (const client of clients.slice(0, 32)) client.destroy();
    stage.proxy.provider.table.remove("default", "sb");
    await eventually(stage.isAllGone);
    expect(stage.proxy.server.counters()).toEqual(NOTHING_OPEN);
    const body = "x".repeat(300_000);
    await using other = await startRawUpstream(
      `HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    stage.proxy.provider.set({ name: "other" });
    const answer = await rawRequest(stage.proxy.port, plainOf("other", other.port));
    expect(answer.headers).toContainEqual(["content-length", "300000"]);
    for (const client of clients) client.destroy();
  });

  test("is cut at the client if the sandbox resets it, and never looks whole", async () => {
    await using stage = await startStage(STREAMED_REFUSAL);
    const client = await stage.open();
    await client.until((text) => text.includes("begin"));
    for (const socket of stage.sandbox.open) socket.resetAndDestroy();
    expect(await client.closed()).not.toContain("\r\n0\r\n");
    await eventually(stage.isAllGone);
    expect(stage.proxy.accessLog.at(-1)).toMatchObject({ status: 403, code: "upstream_reset" });
  });
});

describe("a refused upgrade that ends before it is whole", () => {
  const begun = (framing: string): string => `HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n${framing}\r\n\r\n`;
  test.each<[string, (socket: Socket) => void]>([
    ["its connection ends within the length", (socket) => socket.end(`${begun("Content-Length: 100")}only this`)],
    ["its connection ends before the body", (socket) => socket.end(begun("Content-Length: 100"))],
    [
      "its connection is reset within the length",
      (socket) => socket.write(`${begun("Content-Length: 100")}only this`, () => socket.resetAndDestroy()),
    ],
    [
      "its connection is reset before the body",
      (socket) => socket.write(begun("Content-Length: 100"), () => socket.resetAndDestroy()),
    ],
  ])("is the sandbox's failure, not the ingress's: %s", async (_name, refuse) => {
    await using proxy = startProxy();
    proxy.provider.set({ name: "sb" });
    await using sandbox = await startRawUpstream(refuse);
    const answer = await rawRequest(proxy.port, upgradeOf("sb", sandbox.port));
    expect(answer.status).toBe(502);
    expect(proxy.accessLog).toMatchObject([{ status: 502, code: "upstream_reset" }]);
    expect(proxy.server.counters()).toEqual(NOTHING_OPEN);
  });
});

describe("checkAnswerStatus, of every status that fits three digits", () => {
  test.each([
    ["a plain request", plainOf],
    ["an upgrade", upgradeOf],
  ])("%s passes on 200 to 599; everything else is 502, and nothing stays open", async (_name, build) => {
    await using proxy = startProxy();
    proxy.provider.set({ name: "sb" });
    let status = 0;
    await using sandbox = await startRawUpstream((socket) => {
      // Without a body if the status has none by definition. The connection ends, so that interim answers end too.
      socket.end(`HTTP/1.1 ${status} Any\r\nContent-Type: t/x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
    });
    const wrong: string[] = [];
    for (status = 100; status <= 999; status++) {
      const answer = await rawRequest(proxy.port, build("sb", sandbox.port));
      const expected = status >= 200 && status <= 599 ? status : 502;
      if (answer.status !== expected) wrong.push(`${status}: ${answer.status}`);
    }
    expect(wrong).toEqual([]);
    await eventually(() => proxy.server.inFlight() === 0 && sandbox.open.size === 0);
    expect(proxy.server.counters()).toEqual(NOTHING_OPEN);
    expect(proxy.accessLog.filter(({ code }) => code === "internal")).toEqual([]);
  });
});
