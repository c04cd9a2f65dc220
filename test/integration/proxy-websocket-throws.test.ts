import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { noRenewPublisher } from "../../src/renew/publisher.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import {
  buildFrame,
  closePayload,
  openRawWebSocket,
  OPCODE,
  parseClose,
  readFrames,
} from "../../scripts/lib/stage/raw-websocket.ts";
import { startWebSocketSandbox, type WebSocketSandbox } from "../support/websocket-sandbox.ts";
import { createTableProvider } from "../../scripts/lib/stage/table-provider.ts";

let sandbox: WebSocketSandbox;
/** Renewing throws when the test says so: a fault of the ingress in the middle of a callback. */
let isBroken = false;
let proxy: ProxyHarness;

beforeAll(async () => {
  sandbox = await startWebSocketSandbox();
  const provider = createTableProvider();
  proxy = startProxy(
    {},
    {
      provider,
      renew: {
        ...noRenewPublisher,
        listens: true,
        offer() {
          if (isBroken) throw new Error("thrown on purpose");
        },
      },
    },
  );
  provider.set({ name: "sb" });
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await sandbox[Symbol.asyncDispose]();
});

async function open() {
  const before = sandbox.ends.length;
  const client = await openRawWebSocket(proxy.port, "/", { extra: `OpenSandbox-Ingress-To: sb-${sandbox.port}\r\n` });
  expect(client.status).toBe(101);
  const end = await eventually(() => sandbox.ends[before] ?? false);
  if (end === false) throw new Error("unreachable");
  return { client, end, sandboxFrames: readFrames(end) };
}

describe("what is thrown in a callback of a tunnel", () => {
  test.each([
    ["a message of the client", "client", 1],
    ["a message of the sandbox", "sandbox", 1],
    // More frames than pass at once. The rest is passed on in a later turn, outside any callback of a socket.
    ["messages of the client that waited", "client", 200],
    ["messages of the sandbox that waited", "sandbox", 200],
  ] as const)("for %s ends only that tunnel as internal", async (_name, from, count) => {
    const other = await open();
    const { client, end } = await open();
    isBroken = true;
    const frame = buildFrame(OPCODE.text, "x", { masked: from === "client" });
    (from === "client" ? client.socket : end).write(Buffer.concat(Array<Buffer>(count).fill(frame)));
    const told = await client.frames.next();
    isBroken = false;
    expect([told?.opcode, parseClose(told?.payload ?? Buffer.alloc(0))?.code]).toEqual([OPCODE.close, 1011]);
    client.socket.destroy();
    await eventually(() => end.destroyed || end.readableEnded || !end.writable || end.closed);
    await eventually(() => proxy.server.inFlight() === 1);
    expect(proxy.accessLog.at(-1)).toMatchObject({ status: 101, code: "internal" });
    other.client.send(OPCODE.text, "still there");
    expect((await other.sandboxFrames.next())?.payload.toString()).toBe("still there");
    other.client.socket.destroy();
    other.end.destroy();
    await eventually(() => proxy.server.inFlight() === 0);
  });
});

describe("a hostile Close", () => {
  const codes = [0, 1, 999, 1004, 1005, 1006, 1014, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
  const payloads: readonly (readonly [string, Buffer])[] = [
    ...codes.map((code) => [`with code ${code}`, closePayload(code, "r")] as const),
    ["of one byte", Buffer.from("x")],
    ["with a reason that is no UTF-8", Buffer.concat([closePayload(4000), Buffer.alloc(123, 0xff)])],
    ["with the longest reason", closePayload(4000, "é".repeat(61))],
  ];

  test.each(payloads)("%s, from either side, ends only its tunnel", async (_name, payload) => {
    const first = await open();
    first.client.send(OPCODE.close, payload);
    const second = await open();
    second.end.write(buildFrame(OPCODE.close, payload));
    await eventually(() => first.client.frames.next().then((frame) => frame === undefined));
    await second.client.frames.next();
    for (const { client, end } of [first, second]) {
      client.socket.destroy();
      end.destroy();
    }
    await eventually(() => proxy.server.inFlight() === 0);
    const answer = await rawRequest(
      proxy.port,
      `GET / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${sandbox.port}\r\n\r\n`,
    );
    expect(answer.status).toBe(200);
  });
});
