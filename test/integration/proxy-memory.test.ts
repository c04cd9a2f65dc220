import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Socket } from "node:net";

import { noProxyMetrics } from "../../src/metrics/metrics.ts";
import { STALLED_DOWNLOAD_BYTES, STALLED_UPLOAD_BYTES } from "../../src/proxy/exchange/stalled-sizes.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import {
  headerValues,
  openRaw,
  type RawAnswer,
  type RawConnection,
  rawRequest,
} from "../../scripts/lib/stage/raw-client.ts";
import { acceptKey, buildFrame, openRawWebSocket, OPCODE, readFrames } from "../../scripts/lib/stage/raw-websocket.ts";
import { headerOf, type RawUpstream, startRawUpstream } from "../support/raw-upstream.ts";

const MIB = 1024 * 1024;
const CHUNK = Buffer.concat([Buffer.from("10000\r\n"), Buffer.alloc(0x10000, "x"), Buffer.from("\r\n")]);
const NOTHING = { exchanges: 0, clients: 0, heldBytes: 0, tunnels: 0 };

let sandbox: RawUpstream;
let tunnelEnds: Socket[] = [];
let proxy: ProxyHarness;
let counted = 0;
let resident = 0;
let readResident = (): number => resident;
let opened: { readonly socket: Socket }[] = [];

/** Answers: `/stream` never ends, `/sink` never reads, the test handles a WebSocket, and everything else gets "ok". */
async function startSandbox(): Promise<RawUpstream> {
  return startRawUpstream(
    (socket, request) => {
      const key = headerOf(request, "sec-websocket-key");
      if (key !== undefined) {
        socket.removeAllListeners("data");
        socket.write(
          `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptKey(key)}\r\n\r\n`,
        );
        tunnelEnds.push(socket);
      } else if (request.line.includes("/stream")) {
        socket.write("HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nTransfer-Encoding: chunked\r\n\r\n");
        const pour = (): void => {
          while (socket.writable && socket.write(CHUNK));
        };
        socket.on("drain", pour);
        pour();
      } else if (request.line.includes("/sink")) {
        socket.pause();
      } else {
        socket.write("HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: 2\r\n\r\nok");
      }
    },
    { early: true },
  );
}

function start(budgetBytes: number, limitBytes = 0): void {
  proxy = startProxy(
    { budgetBytes },
    {
      metrics: { ...noProxyMetrics, endedForMemory: () => void counted++ },
      memory: { limitBytes, residentBytes: () => readResident(), collect() {} },
    },
  );
  for (let at = 0; at < 10; at++) proxy.provider.set({ name: `s${at}` });
}

beforeEach(async () => {
  sandbox = await startSandbox();
  tunnelEnds = [];
  opened = [];
  counted = 0;
  resident = 0;
  readResident = () => resident;
});

afterEach(async () => {
  for (const { socket } of opened) socket.destroy();
  await proxy[Symbol.asyncDispose]();
  await sandbox[Symbol.asyncDispose]();
});

const head = (line: string, name: string, extra = ""): string =>
  `${line} HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: ${name}-${sandbox.port}\r\n${extra}\r\n`;

async function openReader(name: string): Promise<RawConnection> {
  const connection = await openRaw(proxy.port);
  opened.push(connection);
  connection.write(head("GET /stream", name));
  await connection.until((text) => text.includes("\r\n\r\n"));
  connection.socket.pause();
  return connection;
}

/** A client that never stops sending to a sandbox that does not read. */
async function openUploader(name: string): Promise<RawConnection> {
  const connection = await openRaw(proxy.port);
  opened.push(connection);
  connection.write(head("POST /sink", name, "Transfer-Encoding: chunked\r\n"));
  const pour = (): void => {
    while (connection.socket.writable && connection.socket.write(CHUNK));
  };
  connection.socket.on("drain", pour);
  pour();
  return connection;
}

const ask = (name: string): Promise<RawAnswer> => rawRequest(proxy.port, head("GET /ok", name));
const ended = (): readonly { status: number }[] => proxy.accessLog.filter(({ code }) => code === "memory_exceeded");
const heldBytes = (): number => proxy.server.counters().heldBytes;

/** Resets the connection, since an orderly end would wait behind unread data. */
async function leaveAll(): Promise<void> {
  for (const { socket } of opened) socket.resetAndDestroy();
  await eventually(() => expect(proxy.server.counters()).toEqual(NOTHING));
}

describe.each([
  ["stalled readers", openReader, STALLED_DOWNLOAD_BYTES],
  ["stalled uploads", openUploader, STALLED_UPLOAD_BYTES],
] as const)("%s", (_name, open, size) => {
  test("of many sandboxes: they get 503 while memory is short, others are served, and nobody is ended", async () => {
    start(9 * size);
    for (let at = 0; at < 7; at++) await open(`s${at}`);
    await eventually(() => heldBytes() === 7 * size);
    expect((await ask("s9")).status).toBe(200);
    const last = await open("s7");
    // An upload moves now and then until the kernel's buffers are full.
    const refused = await eventually(async () => {
      const answer = await ask("s0");
      expect([answer.status, headerValues(answer, "retry-after")]).toEqual([503, ["1"]]);
      return answer;
    });
    expect(refused.body).toBe("OpenSandbox Ingress: memory is low\n");
    expect(proxy.accessLog.at(-1)).toMatchObject({ code: "memory_short" });
    expect((await ask("s9")).status).toBe(200);
    last.socket.resetAndDestroy();
    await eventually(async () => (await ask("s0")).status === 200);
    expect([ended().length, counted, proxy.server.inFlight()]).toEqual([0, 0, 7]);
    await leaveAll();
  }, 60_000);

  test("of one sandbox end until it has its fair share, are counted and logged; others are served", async () => {
    start(6 * size);
    const others = await open("s1");
    await eventually(() => heldBytes() === size);
    const greedy = await Promise.all(Array.from({ length: 6 }, () => open("s0")));
    await eventually(() => ended().length > 0 && heldBytes() <= 4 * size);
    expect((await ask("s1")).status).toBe(200);
    await eventually(() => ended().length === counted && proxy.server.inFlight() + ended().length <= 7);
    // Ended requests get a 503 or an answer that is visibly not whole.
    const told = await eventually(() => {
      for (const { socket } of greedy) socket.resume();
      return greedy.find(({ isClosed, received }) => isClosed || received.startsWith("HTTP/1.1 503")) ?? false;
    });
    expect(told && told.received.endsWith("\r\n0\r\n\r\n")).toBe(false);
    expect(others.isClosed).toBe(false);
    await leaveAll();
  }, 60_000);
});

test("an answer that Bun has whole ends like a stalled stream if its client does not read it", async () => {
  // More than the buffers of two sockets take.
  const body = 16 * MIB;
  await using whole = await startRawUpstream(
    `HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: ${body}\r\n\r\n${"x".repeat(body)}`,
  );
  start(2 * body);
  const connection = await openRaw(proxy.port);
  opened.push(connection);
  connection.socket.pause();
  connection.write(`GET / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: s0-${whole.port}\r\n\r\n`);
  await eventually(() => heldBytes() === body);
  const other = await openReader("s1");
  await eventually(() => ended().length === 1 && counted === 1);
  expect([(await ask("s1")).status, other.isClosed]).toEqual([200, false]);
  await leaveAll();
}, 60_000);

test("tunnels whose clients do not read end, are counted and logged; a tunnel that is read goes on", async () => {
  start(32 * MIB);
  const open = async (name: string) => {
    const before = tunnelEnds.length;
    const client = await openRawWebSocket(proxy.port, "/", {
      extra: `OpenSandbox-Ingress-To: ${name}-${sandbox.port}\r\n`,
    });
    opened.push(client);
    const end = await eventually(() => tunnelEnds[before] ?? false);
    if (end === false) throw new Error("unreachable");
    return { client, end };
  };
  const reads = await open("s1");
  const message = buildFrame(OPCODE.binary, Buffer.alloc(16 * MIB));
  for (let at = 0; at < 4; at++) {
    const { client, end } = await open("s0");
    client.socket.pause();
    end.write(message);
  }
  await eventually(() => ended().length > 0 && ended().length === counted);
  const sandboxFrames = readFrames(reads.end);
  reads.client.send(OPCODE.text, "still there");
  expect((await sandboxFrames.next())?.payload.toString()).toBe("still there");
  expect((await ask("s1")).status).toBe(200);
  await leaveAll();
}, 60_000);

test("unfinished messages: new work gets 503, tunnels take turns, those that move nothing end first, one that does goes on", async () => {
  const limit = 100 * MIB;
  start(limit, limit);
  const extra = `OpenSandbox-Ingress-To: s0-${sandbox.port}\r\n`;
  const chatty = await openRawWebSocket(proxy.port, "/", { extra });
  const end = await eventually(() => tunnelEnds[0] ?? false);
  if (end === false) throw new Error("unreachable");
  const frames = readFrames(end);
  const hoarders = await Promise.all(Array.from({ length: 8 }, () => openRawWebSocket(proxy.port, "/", { extra })));
  opened.push(chatty, ...hoarders);
  const fragment = buildFrame(OPCODE.binary, Buffer.alloc(MIB), { masked: true, fin: false });
  for (const { socket } of hoarders) socket.write(fragment);
  // Bun hides what it holds of them. Only the process grows.
  resident = 0.8 * limit;
  await eventually(async () => (await ask("s1")).status === 503);
  // It has finished no message yet, so it waits for its turn.
  for (const text of ["x", "y"]) {
    chatty.send(OPCODE.text, text);
    expect((await frames.next())?.payload.toString()).toBe(text);
  }
  expect(ended()).toEqual([]);
  readResident = () => (ended().length < hoarders.length - 1 ? 0.9 * limit : 0);
  await eventually(() => ended().length >= hoarders.length - 1);
  await eventually(async () => (await ask("s1")).status === 200);
  expect(counted).toBe(ended().length);
  chatty.send(OPCODE.text, "z");
  expect((await frames.next())?.payload.toString()).toBe("z");
  await leaveAll();
}, 60_000);
