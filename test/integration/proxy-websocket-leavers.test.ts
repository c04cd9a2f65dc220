import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { eventually } from "../../scripts/lib/eventually.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { buildFrame, openRawWebSocket, OPCODE } from "../../scripts/lib/stage/raw-websocket.ts";
import { createHurriedClock } from "../support/hurried-clock.ts";
import { startWebSocketSandbox, type WebSocketSandbox } from "../support/websocket-sandbox.ts";

/** Frames a second, in a hurry two hundred: what is in the buffers would take an hour. */
const SLOW_RATE = 10;
const HURRY = 20;
/** More than the buffers of two kernels and of Bun hold. */
const SENT_BYTES = 16 * 1024 * 1024;
const TEST_MAX_MS = 30_000;
const NOTHING = { tunnels: 0, exchanges: 0, heldBytes: 0 };

/** It reads, answers pings and never ends anything. */
const reader = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  fetch: (request, server) => (server.upgrade(request) ? undefined : new Response()),
  websocket: { message() {} },
});
let stuck: WebSocketSandbox;
let slow: ProxyHarness;
let quick: ProxyHarness;

function start(websocketFrameRate: number): ProxyHarness {
  const clock = createHurriedClock(HURRY);
  const proxy = startProxy({ websocketFrameRate }, { clock });
  proxy.provider.set({ name: "sb" });
  return proxy;
}

beforeAll(async () => {
  stuck = await startWebSocketSandbox();
  slow = start(SLOW_RATE);
  quick = start(0);
});

afterAll(async () => {
  await slow[Symbol.asyncDispose]();
  await quick[Symbol.asyncDispose]();
  await stuck[Symbol.asyncDispose]();
  await reader.stop(true);
});

/** A client that has sent frames until nobody took any more. */
async function openUnread(proxy: ProxyHarness, payload: string) {
  const port = proxy === slow ? reader.port : stuck.port;
  const before = stuck.ends.length;
  const client = await openRawWebSocket(proxy.port, "/", { extra: `OpenSandbox-Ingress-To: sb-${port}\r\n` });
  if (proxy === quick) await eventually(() => stuck.ends[before]?.pause() !== undefined);
  const frame = buildFrame(OPCODE.text, payload, { masked: true });
  client.socket.write(Buffer.concat(Array<Buffer>(Math.ceil(SENT_BYTES / frame.length)).fill(frame)));
  let unsent = 0;
  await eventually(() => {
    const earlier = unsent;
    unsent = client.socket.writableLength;
    return unsent > 0 && unsent === earlier;
  });
  expect(proxy.server.counters().tunnels).toBe(1);
  return client;
}

describe.each([
  ["its frame rate is used up", () => slow, "x"],
  ["the sandbox does not read", () => quick, "x".repeat(1_000)],
] as const)("a client that is not read because %s", (_cause, choose, payload) => {
  test.each(["closes", "resets"] as const)(
    "and %s its connection ends the tunnel",
    async (how) => {
      const proxy = choose();
      const client = await openUnread(proxy, payload);
      if (how === "closes") client.socket.destroy();
      else client.socket.resetAndDestroy();
      await eventually(() => expect(proxy.server.counters()).toMatchObject(NOTHING));
    },
    TEST_MAX_MS,
  );

  test(
    "and stays is asked again and again, and keeps its tunnel",
    async () => {
      const proxy = choose();
      const client = await openUnread(proxy, payload);
      for (let pings = 0; pings < 3; pings++) expect((await client.frames.next())?.opcode).toBe(OPCODE.ping);
      expect(proxy.server.counters().tunnels).toBe(1);
      client.socket.resetAndDestroy();
      await eventually(() => expect(proxy.server.counters()).toMatchObject(NOTHING));
    },
    TEST_MAX_MS,
  );
});
