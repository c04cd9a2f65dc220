import { createHash, randomBytes } from "node:crypto";
import type { Socket } from "node:net";

import { openRaw } from "./raw-client.ts";

/** Opcodes of RFC 6455 §5.2. */
export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** One received frame. */
export interface RawFrame {
  readonly fin: boolean;
  readonly opcode: number;
  readonly payload: Buffer;
}

/** Reads frames from a socket. */
export interface FrameReader {
  /** The next frame; undefined if the connection has ended. */
  next(): Promise<RawFrame | undefined>;
}

/** Builds one frame (RFC 6455 §5.2). Clients mask, servers do not. `bits`: first byte, for malformed ones. */
export function buildFrame(
  opcode: number,
  payload: string | Buffer,
  options: { readonly masked?: boolean; readonly fin?: boolean; readonly firstByte?: number } = {},
): Buffer {
  const data = typeof payload === "string" ? Buffer.from(payload) : payload;
  const first = options.firstByte ?? (options.fin === false ? 0 : 0x80) | opcode;
  const maskBit = options.masked === true ? 0x80 : 0;
  let head: Buffer;
  if (data.length < 126) head = Buffer.from([first, maskBit | data.length]);
  else if (data.length < 65_536) {
    head = Buffer.from([first, maskBit | 126, data.length >> 8, data.length & 255]);
  } else {
    head = Buffer.alloc(10);
    head[0] = first;
    head[1] = maskBit | 127;
    head.writeBigUInt64BE(BigInt(data.length), 2);
  }
  if (options.masked !== true) return Buffer.concat([head, data]);
  const mask = randomBytes(4);
  const masked = Buffer.from(data.map((byte, i) => byte ^ (mask[i % 4] ?? 0)));
  return Buffer.concat([head, mask, masked]);
}

/** The payload of a Close frame. */
export function closePayload(code: number, reason = ""): Buffer {
  return Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]);
}

/** Code and reason of a Close frame; undefined for an empty one. */
export function parseClose(payload: Buffer): { code: number; reason: string } | undefined {
  return payload.length < 2 ? undefined : { code: payload.readUInt16BE(0), reason: payload.subarray(2).toString() };
}

/** `Sec-WebSocket-Accept` for a key (RFC 6455 §4.2.2). */
export function acceptKey(key: string): string {
  return createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
}

/** Reads the frames from a socket, after `initial`. */
export function readFrames(socket: Socket, initial: Buffer = Buffer.alloc(0)): FrameReader {
  let buffer = initial;
  let ended = false;
  let wake: () => void = () => {};
  socket.on("data", (data: Buffer) => {
    buffer = Buffer.concat([buffer, data]);
    wake();
  });
  socket.on("close", () => {
    ended = true;
    wake();
  });
  return {
    async next() {
      for (;;) {
        const parsed = parseFrame(buffer);
        if (parsed !== undefined) {
          buffer = buffer.subarray(parsed.length);
          return parsed.frame;
        }
        if (ended || socket.destroyed) return undefined;
        await new Promise<void>((resolve) => (wake = resolve));
      }
    },
  };
}

function parseFrame(buffer: Buffer): { frame: RawFrame; length: number } | undefined {
  if (buffer.length < 2) return undefined;
  const first = buffer[0] ?? 0;
  const second = buffer[1] ?? 0;
  let length = second & 0x7f;
  let offset = 2;
  if (length === 126) {
    if (buffer.length < 4) return undefined;
    length = buffer.readUInt16BE(2);
    offset = 4;
  } else if (length === 127) {
    if (buffer.length < 10) return undefined;
    length = Number(buffer.readBigUInt64BE(2));
    offset = 10;
  }
  const masked = (second & 0x80) !== 0;
  const mask = masked ? buffer.subarray(offset, offset + 4) : undefined;
  if (masked) offset += 4;
  if (buffer.length < offset + length) return undefined;
  const data = buffer.subarray(offset, offset + length);
  const payload = Buffer.from(mask === undefined ? data : data.map((byte, i) => byte ^ (mask[i % 4] ?? 0)));
  return { frame: { fin: (first & 0x80) !== 0, opcode: first & 15, payload }, length: offset + length };
}

/** A small WebSocket client: it sends what the test says and shows what it receives. */
export interface RawWebSocket {
  readonly status: number;
  /** The head of the answer, as received. */
  readonly head: string;
  readonly socket: Socket;
  readonly frames: FrameReader;
  send(opcode: number, payload: string | Buffer, options?: { fin?: boolean; firstByte?: number }): void;
}

/** Opens a WebSocket through a proxy. `extra`: header lines, each with its line end; `behind`: bytes right after it. */
export async function openRawWebSocket(
  port: number,
  path: string,
  options: { readonly extra?: string; readonly behind?: Buffer } = {},
): Promise<RawWebSocket> {
  const connection = await openRaw(port);
  const key = randomBytes(16).toString("base64");
  const head =
    `GET ${path} HTTP/1.1\r\nHost: h.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n` +
    `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n${options.extra ?? ""}\r\n`;
  connection.write(Buffer.concat([Buffer.from(head), options.behind ?? Buffer.alloc(0)]));
  const received = await connection.until((text) => text.includes("\r\n\r\n"));
  const headEnd = received.indexOf("\r\n\r\n") + 4;
  const status = Number(received.slice(9, 12));
  const rest = Buffer.from(received.slice(headEnd), "latin1");
  connection.socket.removeAllListeners("data");
  const { socket } = connection;
  return {
    status,
    head: received.slice(0, headEnd),
    socket,
    frames: readFrames(socket, rest),
    send: (opcode, payload, frameOptions) =>
      void socket.write(buildFrame(opcode, payload, { masked: true, ...frameOptions })),
  };
}
