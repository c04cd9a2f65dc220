import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { eventually } from "../../scripts/lib/eventually.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import {
  buildFrame,
  closePayload,
  openRawWebSocket,
  OPCODE,
  parseClose,
  readFrames,
} from "../../scripts/lib/stage/raw-websocket.ts";
import { startWebSocketSandbox, type WebSocketSandbox } from "../support/websocket-sandbox.ts";

/** More than the interval of the watchdog's sweep, so that a side is asked twice in about two seconds. */
const INTERVAL_MS = 600;

let sandbox: WebSocketSandbox;
let proxy: ProxyHarness;

beforeAll(async () => {
  sandbox = await startWebSocketSandbox();
  proxy = startProxy({}, { tunnelPingIntervalMs: INTERVAL_MS });
  proxy.provider.set({ name: "sb" });
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await sandbox[Symbol.asyncDispose]();
});

async function open() {
  const before = sandbox.ends.length;
  const client = await openRawWebSocket(proxy.port, "/", { extra: `OpenSandbox-Ingress-To: sb-${sandbox.port}\r\n` });
  const end = await eventually(() => sandbox.ends[before] ?? false);
  if (end === false) throw new Error("unreachable");
  return { client, end, sandboxFrames: readFrames(end) };
}

type Side = Awaited<ReturnType<typeof open>>["sandboxFrames"];

/** Answers pings until a frame of another kind comes. Returns that frame and the payloads of the pings. */
async function answerPings(frames: Side, pong: (payload: Buffer) => void) {
  const pings: string[] = [];
  for (;;) {
    const frame = await frames.next();
    if (frame?.opcode !== OPCODE.ping) return { pings, frame };
    pings.push(frame.payload.toString("hex"));
    pong(frame.payload);
  }
}

describe("a side that answers no ping", () => {
  test("that is the sandbox ends the tunnel: the client gets 1001", async () => {
    const { client, end } = await open();
    const { pings, frame } = await answerPings(client.frames, (payload) => client.send(OPCODE.pong, payload));
    expect([frame?.opcode, parseClose(frame?.payload ?? Buffer.alloc(0))?.code]).toEqual([OPCODE.close, 1001]);
    expect(pings.length).toBeGreaterThan(0);
    client.socket.destroy();
    await eventually(() => end.destroyed);
    await eventually(() => proxy.server.inFlight() === 0);
    expect(proxy.accessLog.at(-1)).toMatchObject({ status: 101, code: "upstream_timeout" });
  });

  test("that is the client ends the tunnel: the sandbox gets 1001", async () => {
    const { client, end, sandboxFrames } = await open();
    const { frame } = await answerPings(sandboxFrames, (payload) => end.write(buildFrame(OPCODE.pong, payload)));
    expect([frame?.opcode, parseClose(frame?.payload ?? Buffer.alloc(0))?.code]).toEqual([OPCODE.close, 1001]);
    await eventually(() => client.socket.destroyed);
    await eventually(() => proxy.server.inFlight() === 0);
    expect(proxy.accessLog.at(-1)).toMatchObject({ status: 101, code: "client_closed" });
  });

  test("but sends anything else is neither ended nor asked", async () => {
    const { client, end, sandboxFrames } = await open();
    const seen: string[] = [];
    const reading = answerPings(client.frames, (payload) => client.send(OPCODE.pong, payload));
    // Ten messages, each before the next ping is due: six intervals in all.
    for (let i = 0; i < 10; i++) {
      client.send(OPCODE.text, String(i));
      end.write(buildFrame(OPCODE.pong, `unasked ${i}`));
      const frame = await sandboxFrames.next();
      seen.push(`${frame?.opcode} ${frame?.payload.toString()}`);
      await Bun.sleep(INTERVAL_MS / 4);
    }
    expect(seen).toEqual(Array.from({ length: 10 }, (_, i) => `1 ${i}`));
    const { pings, frame } = await reading;
    // A pong that nobody asked for passes (RFC 6455 §5.5.3).
    expect([pings, frame?.opcode, frame?.payload.toString()]).toEqual([[], OPCODE.pong, "unasked 0"]);
    client.socket.destroy();
    end.destroy();
    await eventually(() => proxy.server.inFlight() === 0);
  });
});

test("Tunnel swallows the answers to its own pings, and no other ping or pong", async () => {
  const { client, end, sandboxFrames } = await open();
  const atClient: string[] = [];
  const atSandbox: string[] = [];
  const collect = async (frames: Side, seen: string[], pong: (payload: Buffer) => void): Promise<void> => {
    for (let frame = await frames.next(); frame !== undefined; frame = await frames.next()) {
      // A ping of the proxy: sixteen random bytes.
      if (frame.opcode === OPCODE.ping && frame.payload.length === 16) {
        pong(frame.payload);
        seen.push("asked");
      } else if (frame.opcode !== OPCODE.close) {
        seen.push(`${frame.opcode} ${frame.payload.toString()}`);
      }
    }
  };
  void collect(client.frames, atClient, (payload) => client.send(OPCODE.pong, payload));
  void collect(sandboxFrames, atSandbox, (payload) => end.write(buildFrame(OPCODE.pong, payload)));
  // Each side gets more pings than may go unanswered, and answers all.
  await eventually(() => [atClient, atSandbox].every((seen) => seen.filter((item) => item === "asked").length >= 4));
  client.send(OPCODE.ping, "by the client");
  end.write(buildFrame(OPCODE.ping, "by the sandbox"));
  await eventually(() => atClient.length + atSandbox.length > 0 && atSandbox.includes("9 by the client"));
  await eventually(() => atClient.includes("9 by the sandbox") && atClient.includes("10 by the client"));
  client.send(OPCODE.pong, "by the sandbox");
  end.write(buildFrame(OPCODE.pong, "by the client"));
  end.write(buildFrame(OPCODE.text, "last"));
  await eventually(() => atSandbox.includes("10 by the sandbox") && atClient.includes("1 last"));
  const others = (seen: readonly string[]): string[] => seen.filter((item) => item !== "asked");
  expect(others(atClient).toSorted()).toEqual(["1 last", "10 by the client", "9 by the sandbox"]);
  expect(others(atSandbox).toSorted()).toEqual(["10 by the sandbox", "9 by the client"]);
  client.socket.destroy();
  end.destroy();
  await eventually(() => proxy.server.inFlight() === 0);
}, 30_000);

test.each([
  ["with a code and a reason", closePayload(4001, "why"), { code: 4001, reason: "why" }],
  ["without a code", Buffer.alloc(0), undefined],
])("Tunnel passes a Close %s on from a sandbox that keeps TCP open", async (_name, payload, expected) => {
  const { client, end } = await open();
  end.allowHalfOpen = true;
  end.write(Buffer.concat([buildFrame(OPCODE.text, "before"), buildFrame(OPCODE.close, payload)]));
  expect((await client.frames.next())?.payload.toString()).toBe("before");
  const frame = await client.frames.next();
  expect(frame?.opcode).toBe(OPCODE.close);
  expect(parseClose(frame?.payload ?? Buffer.alloc(0))).toEqual(expected);
  client.socket.destroy();
  await eventually(() => proxy.server.inFlight() === 0);
  end.destroy();
});
