import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Socket } from "node:net";

import { eventually } from "../../scripts/lib/eventually.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { buildFrame, openRawWebSocket, OPCODE, parseClose, readFrames } from "../../scripts/lib/stage/raw-websocket.ts";
import { startWebSocketSandbox, type WebSocketSandbox } from "../support/websocket-sandbox.ts";

/** Frames of one flood: many more than a turn of the event loop may pass on. */
const FLOOD_FRAMES = 60_000;
/** Plain requests that must be answered while a flood lasts. */
const REQUESTS = 20;
const NUMBERED = 20_000;

let sandbox: WebSocketSandbox;
let proxy: ProxyHarness;

beforeAll(async () => {
  sandbox = await startWebSocketSandbox();
  proxy = startProxy();
  proxy.provider.set({ name: "sb" });
  proxy.provider.set({ name: "calm" });
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await sandbox[Symbol.asyncDispose]();
});

async function open(through: ProxyHarness = proxy) {
  const before = sandbox.ends.length;
  const client = await openRawWebSocket(through.port, "/", { extra: `OpenSandbox-Ingress-To: sb-${sandbox.port}\r\n` });
  expect(client.status).toBe(101);
  const end = await eventually(() => sandbox.ends[before] ?? false);
  if (end === false) throw new Error("unreachable");
  return { client, end };
}

/** Writes `count` equal frames; `first` goes before them. */
function flood(socket: Socket, options: { frame: Buffer; count: number; first?: Buffer }): void {
  socket.write(Buffer.concat([options.first ?? Buffer.alloc(0), ...Array<Buffer>(options.count).fill(options.frame)]));
}

/** Counts the bytes that come over a socket, without reading them. */
function countBytes(socket: Socket): () => number {
  let bytes = 0;
  socket.removeAllListeners("data");
  socket.on("data", (data: Buffer) => void (bytes += data.length));
  return () => bytes;
}

const askCalm = () =>
  rawRequest(proxy.port, `GET / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: calm-${sandbox.port}\r\n\r\n`);

describe.each(["client", "sandbox"] as const)("a flood from the %s", (from) => {
  const build = (opcode: number, payload = "", fin = true): Buffer =>
    buildFrame(opcode, payload, { masked: from === "client", fin });

  test.each([
    ["empty binary messages", { frame: build(OPCODE.binary) }],
    ["short texts", { frame: build(OPCODE.text, "ab") }],
    ["empty fragments", { first: build(OPCODE.text, "", false), frame: build(OPCODE.continuation, "", false) }],
  ])(
    "of %s stops no other exchange",
    async (_name, kind) => {
      const { client, end } = await open();
      const received = countBytes(from === "client" ? end : client.socket);
      const isData = !("first" in kind);
      flood(from === "client" ? client.socket : end, { ...kind, count: FLOOD_FRAMES });
      for (let i = 0; i < REQUESTS; i++) expect((await askCalm()).status).toBe(200);
      // The rate lets through its reserve, and then a limited number per second, so the flood still lasts.
      if (isData) expect(received()).toBeLessThan(FLOOD_FRAMES * kind.frame.length);
      client.socket.destroy();
      end.destroy();
      await eventually(() => proxy.server.inFlight() === 0, { maxMs: 40_000 });
    },
    60_000,
  );

  test.each([
    ["pings", OPCODE.ping],
    ["pongs", OPCODE.pong],
  ])("of %s is closed with 1008, and the other side gets a Close", async (_name, opcode) => {
    const { client, end } = await open();
    const sandboxFrames = readFrames(end);
    flood(from === "client" ? client.socket : end, { frame: build(opcode, "p"), count: 5_000 });
    const closeOf = async (frames: typeof sandboxFrames): Promise<number | undefined> => {
      for (;;) {
        const frame = await frames.next();
        if (frame === undefined) return undefined;
        if (frame.opcode === OPCODE.close) return parseClose(frame.payload)?.code;
      }
    };
    const [clientCode, sandboxCode] = await Promise.all([closeOf(client.frames), closeOf(sandboxFrames)]);
    expect([clientCode, sandboxCode]).toEqual(from === "client" ? [1008, 1001] : [1001, 1008]);
    client.socket.destroy();
    end.destroy();
    await eventually(() => proxy.server.inFlight() === 0);
    expect(proxy.accessLog.at(-1)).toMatchObject({ status: 101, code: "websocket_flood" });
  });
});

describe("a sender above the rate", () => {
  test.each(["client", "sandbox"] as const)(
    "that is the %s loses nothing: 20,000 numbered messages and the Close after them arrive in order",
    async (from) => {
      await using through = startProxy({ websocketFrameRate: 15_000 });
      through.provider.set({ name: "sb" });
      const { client, end } = await open(through);
      const masked = from === "client";
      const frames = Array.from({ length: NUMBERED }, (_, i) => {
        return buildFrame(i % 2 === 0 ? OPCODE.text : OPCODE.binary, String(i), { masked });
      });
      const close = buildFrame(OPCODE.close, Buffer.from([0x0f, 0xa1]), { masked });
      const reader = from === "client" ? end : client.socket;
      const chunks: Buffer[] = [];
      reader.removeAllListeners("data");
      reader.on("data", (data: Buffer) => void chunks.push(data));
      const ended = new Promise((resolve) => reader.once("end", resolve));
      (from === "client" ? client.socket : end).end(Buffer.concat([...frames, close]));
      await ended;
      const expected = Buffer.concat(
        frames.map((_, i) => buildFrame(i % 2 === 0 ? OPCODE.text : OPCODE.binary, String(i))),
      );
      const seen = Buffer.concat(chunks);
      if (from === "sandbox") {
        expect(seen.subarray(0, expected.length).equals(expected)).toBe(true);
        expect(seen.subarray(expected.length).toString("hex")).toBe("88020fa1");
      } else {
        // Each frame of a client is masked: read them one by one.
        const numbers = readFramesOf(seen);
        expect(numbers.slice(0, NUMBERED)).toEqual(Array.from({ length: NUMBERED }, (_, i) => String(i)));
        expect(numbers).toHaveLength(NUMBERED + 1);
      }
    },
    60_000,
  );
});

/** The payloads of short masked frames. */
function readFramesOf(bytes: Buffer): string[] {
  const payloads: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = (bytes[at + 1] ?? 0) & 0x7f;
    const mask = bytes.subarray(at + 2, at + 6);
    payloads.push(
      Buffer.from(bytes.subarray(at + 6, at + 6 + length).map((b, i) => b ^ (mask[i % 4] ?? 0))).toString(),
    );
    at += 6 + length;
  }
  return payloads;
}
