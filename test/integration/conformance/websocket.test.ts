import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { type ProxyHarness, startProxy } from "../../../scripts/lib/stage/proxy-harness.ts";
import {
  buildFrame,
  closePayload,
  openRawWebSocket,
  OPCODE,
  parseClose,
} from "../../../scripts/lib/stage/raw-websocket.ts";

/** An echo server of Bun's: what passes when a client talks to it directly has to pass through the ingress. */
let echo: Bun.Server<undefined>;
let proxy: ProxyHarness;

beforeAll(() => {
  echo = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("no", { status: 400 })),
    websocket: {
      maxPayloadLength: 64 * 1024 * 1024,
      message: (socket, data) => void socket.send(data),
    },
  });
  proxy = startProxy();
  proxy.provider.set({ name: "sb" });
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await echo.stop(true);
});

const masked = (
  opcode: number,
  payload: string | Buffer,
  options: { fin?: boolean; firstByte?: number } = {},
): Buffer => buildFrame(opcode, payload, { masked: true, ...options });
const utf8 = Buffer.from("κόσμε 😀");

/** A first message whose echo is awaited before the rest: what follows ends the connection (as non-strict Autobahn cases). */
const BEFORE = "before";
const BEFORE_FRAME = masked(OPCODE.text, BEFORE);

/** Frames that a client sends, by the sections of RFC 6455 that the Autobahn suite goes through. */
const CASES: readonly (readonly [string, readonly Buffer[]])[] = [
  ...[0, 1, 125, 126, 127, 128, 65_535, 65_536, 1_000_000].flatMap(
    (length): (readonly [string, readonly Buffer[]])[] => [
      [`text of ${length} (§5.2)`, [masked(OPCODE.text, "*".repeat(length))]],
      [`binary of ${length} (§5.2)`, [masked(OPCODE.binary, Buffer.alloc(length, 0xfe))]],
    ],
  ),
  ["text in fragments (§5.4)", [masked(1, "a", { fin: false }), masked(0, "b", { fin: false }), masked(0, "c")]],
  ["empty fragments (§5.4)", [masked(1, "", { fin: false }), masked(0, "", { fin: false }), masked(0, "")]],
  ["a ping between fragments (§5.4)", [masked(1, "a", { fin: false }), masked(9, "p"), masked(0, "b")]],
  ["a continuation of nothing (§5.4)", [masked(0, "a")]],
  ["a message inside a message (§5.4)", [masked(1, "a", { fin: false }), masked(1, "b")]],
  ["a fragmented ping (§5.5)", [masked(9, "a", { fin: false })]],
  ["a ping of 125 (§5.5.2)", [masked(9, "p".repeat(125))]],
  ["a ping of 126 (§5.5)", [masked(9, "p".repeat(126))]],
  ["an empty ping (§5.5.2)", [masked(9, "")]],
  ["a pong that nobody asked for (§5.5.3)", [masked(10, "x"), masked(1, "after")]],
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode): readonly [string, readonly Buffer[]] => [
    `reserved opcode ${opcode} (§5.2)`,
    [BEFORE_FRAME, masked(opcode, "x")],
  ]),
  ...[0x40, 0x20, 0x10].map((bit): readonly [string, readonly Buffer[]] => [
    `reserved bit ${bit} (§5.2)`,
    [BEFORE_FRAME, masked(1, "x", { firstByte: 0x81 | bit })],
  ]),
  ["UTF-8 cut between fragments (§8.1)", [masked(1, utf8.subarray(0, 3), { fin: false }), masked(0, utf8.subarray(3))]],
  [
    "UTF-8 a byte at a time (§8.1)",
    [...utf8].map((byte, i) => masked(i === 0 ? 1 : 0, Buffer.from([byte]), { fin: i === utf8.length - 1 })),
  ],
  ["a surrogate (§8.1)", [masked(1, Buffer.from([0xed, 0xa0, 0x80]))]],
  ["overlong UTF-8 (§8.1)", [masked(1, Buffer.from([0xc0, 0xaf]))]],
  ["half a character (§8.1)", [masked(1, utf8.subarray(0, 3))]],
  ["a close without code (§5.5.1)", [masked(8, "")]],
  ["a close of one byte (§5.5.1)", [masked(8, "x")]],
  ["a close with a long reason (§5.5.1)", [masked(8, closePayload(1000, "r".repeat(123)))]],
  ["a close with a reason that is no UTF-8 (§8.1)", [masked(8, Buffer.from([0x03, 0xe8, 0xff]))]],
  ...[1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999].map(
    (code): readonly [string, readonly Buffer[]] => [`close ${code} (§7.4)`, [masked(8, closePayload(code))]],
  ),
  ...[0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535].map(
    (code): readonly [string, readonly Buffer[]] => [`close ${code} (§7.4)`, [masked(8, closePayload(code))]],
  ),
  ["a message behind a close (§5.5.1)", [masked(8, closePayload(1000)), masked(1, "late")]],
  ["many messages", Array.from({ length: 500 }, (_, i) => masked(1, `message ${i}`))],
];

/** The last message of each conversation; when it is back, the client closes. */
const SENTINEL = "that is all";

/**
 * What a client sees until the connection ends. It closes when everything is back: Bun answers a Close by itself and at
 * once, so what a sandbox still had to say would be lost through the ingress (docs/limits.md).
 */
async function converse(port: number, frames: readonly Buffer[], extra: string): Promise<string[]> {
  const socket = await openRawWebSocket(port, "/", { extra });
  expect(socket.status).toBe(101);
  const rest = Buffer.concat([...frames.slice(1), masked(OPCODE.text, SENTINEL)]);
  const [first = Buffer.alloc(0)] = frames;
  const isAwaited = first === BEFORE_FRAME;
  socket.socket.write(isAwaited ? first : Buffer.concat([first, rest]));
  const seen: string[] = [];
  let pieces: Buffer[] = [];
  for (;;) {
    const frame = await socket.frames.next();
    if (frame === undefined) return seen;
    if (frame.opcode === OPCODE.close) {
      seen.push(`close ${parseClose(frame.payload)?.code}`);
      socket.socket.destroy();
      return seen;
    }
    if (frame.opcode === OPCODE.pong) {
      seen.push(`pong ${frame.payload.toString("latin1")}`);
      continue;
    }
    pieces.push(frame.payload);
    if (!frame.fin) continue;
    const message = Buffer.concat(pieces);
    pieces = [];
    if (isAwaited && message.toString() === BEFORE) socket.socket.write(rest);
    if (message.toString() === SENTINEL) socket.socket.write(masked(OPCODE.close, closePayload(4321, "end")));
    seen.push(`message of ${message.length}: ${Bun.hash(message)}`);
  }
}

describe("conformance of WebSockets", () => {
  test.each(CASES.map(([name, frames]): [string, readonly Buffer[]] => [name, frames]))(
    "%s: the client sees through the ingress what it sees without it",
    async (_name, frames) => {
      const direct = await converse(echo.port ?? 0, frames, "");
      const through = await converse(proxy.port, frames, `OpenSandbox-Ingress-To: sb-${echo.port}\r\n`);
      expect(sortPongs(through)).toEqual(sortPongs(direct));
    },
  );
});

/** Pongs come at once, from whoever is nearest: their place among messages is nobody's promise (RFC 6455 §5.5.3). */
function sortPongs(seen: readonly string[]): string[] {
  const isPong = (entry: string): boolean => entry.startsWith("pong");
  return [...seen.filter(isPong), ...seen.filter((entry) => !isPong(entry))];
}
