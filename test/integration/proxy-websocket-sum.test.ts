import { expect, test } from "bun:test";
import type { Socket } from "node:net";

import { eventually } from "../../scripts/lib/eventually.ts";
import { startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { acceptKey, buildFrame, openRawWebSocket, OPCODE, parseClose } from "../../scripts/lib/stage/raw-websocket.ts";
import { startRawUpstream } from "../support/raw-upstream.ts";

const MIB = 1024 * 1024;
/** More bytes than the socket buffers of a hop take, so that most of each message waits in the proxy. */
const MESSAGE_BYTES = 16 * MIB;
const TUNNELS = 8;

/** Tunnels through a proxy whose limit is four messages. The sandbox's ends do not read. */
async function startStage() {
  const proxy = startProxy({ websocketMaxMessageBytes: MESSAGE_BYTES, budgetBytes: 8 * MESSAGE_BYTES });
  proxy.provider.set({ name: "sb" });
  const ends: Socket[] = [];
  const sandbox = await startRawUpstream((socket, { headerLines }) => {
    const key =
      headerLines
        .find((line) => /^sec-websocket-key:/i.test(line))
        ?.slice(18)
        .trim() ?? "";
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptKey(key)}\r\n\r\n`,
    );
    socket.pause();
    ends.push(socket);
  });
  const open = () => openRawWebSocket(proxy.port, "/", { extra: `OpenSandbox-Ingress-To: sb-${sandbox.port}\r\n` });
  return {
    proxy,
    ends,
    clients: await Promise.all(Array.from({ length: TUNNELS }, open)),
    open,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await sandbox[Symbol.asyncDispose]();
    },
  };
}

const overflows = (stage: Awaited<ReturnType<typeof startStage>>): number =>
  stage.proxy.accessLog.filter(({ code }) => code === "memory_exceeded").length;

test("Tunnel ends if all tunnels together hold too much for sandboxes that do not read; others go on", async () => {
  await using stage = await startStage();
  const big = buildFrame(OPCODE.binary, Buffer.alloc(MESSAGE_BYTES), { masked: true });
  for (const { socket } of stage.clients) socket.write(big);
  await eventually(() => overflows(stage) > 0 && stage.proxy.server.inFlight() + overflows(stage) === TUNNELS);
  expect(overflows(stage)).toBeLessThan(TUNNELS);
  const closed = stage.clients.map(async ({ frames, socket }) => {
    const frame = await frames.next();
    socket.destroy();
    return parseClose(frame?.payload ?? Buffer.alloc(0))?.code;
  });
  // Ended tunnels get "try again later". The others go on.
  const codes: (number | undefined)[] = [];
  for (const code of closed) void code.then((value) => codes.push(value));
  await eventually(() => codes.length === overflows(stage));
  expect(new Set(codes)).toEqual(new Set([1013]));
  for (const { socket } of stage.clients) socket.destroy();
  await eventually(() => stage.proxy.server.inFlight() === 0);
  // Ended tunnels hold nothing, so as much fits as before.
  const before = overflows(stage);
  const again = await stage.open();
  again.socket.write(big);
  await eventually(() => stage.proxy.accessLog.length === TUNNELS);
  await eventually(() => again.socket.writableLength === 0);
  expect(overflows(stage)).toBe(before);
  again.socket.destroy();
}, 60_000);

test("Tunnel ends if all tunnels together hold too much for clients that do not read", async () => {
  await using stage = await startStage();
  for (const { socket } of stage.clients) socket.pause();
  await eventually(() => stage.ends.length === TUNNELS);
  const big = buildFrame(OPCODE.binary, Buffer.alloc(MESSAGE_BYTES));
  for (const end of stage.ends) end.write(big);
  await eventually(() => overflows(stage) > 0);
  await eventually(() => stage.proxy.server.inFlight() + overflows(stage) === TUNNELS);
  expect(overflows(stage)).toBeLessThan(TUNNELS);
  for (const { socket } of stage.clients) socket.destroy();
  await eventually(() => stage.proxy.server.inFlight() === 0);
}, 60_000);
