import type { Socket } from "node:net";

import { type RawUpstream, type SeenRequest, startRawUpstream } from "./raw-upstream.ts";
import { acceptKey } from "../../scripts/lib/stage/raw-websocket.ts";

/** A broken or hostile sandbox's reaction to a request. */
export interface UpstreamFault {
  /** Completes "the sandbox …". */
  readonly name: string;
  /** The requests that fail. */
  readonly for: "http" | "websocket";
  /** Bytes as latin1, or a function that writes them. Repeatable requests are repeated. */
  readonly answer: string | ((socket: Socket, request: SeenRequest) => void);
}

const KIB = 1024;

function upgradeHead(request: SeenRequest, extra = "", accept = acceptOf(request)): string {
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n${accept}${extra}\r\n`;
}

function acceptOf(request: SeenRequest): string {
  const key = request.headerLines.find((line) => /^sec-websocket-key:/i.test(line))?.slice("sec-websocket-key:".length);
  return `Sec-WebSocket-Accept: ${acceptKey(key?.trim() ?? "")}\r\n`;
}

const http = (name: string, answer: UpstreamFault["answer"]): UpstreamFault => ({ name, for: "http", answer });
const websocket = (name: string, answer: UpstreamFault["answer"]): UpstreamFault => ({
  name,
  for: "websocket",
  answer,
});
const afterUpgrade = (name: string, bytes: readonly number[]): UpstreamFault =>
  websocket(name, (socket, request) => {
    socket.write(upgradeHead(request));
    socket.write(Buffer.from(bytes));
  });

/** Faults of answers to plain requests. Each ends the exchange, for any client. */
const HTTP_FAULTS: readonly UpstreamFault[] = [
  http("answers with garbage", "this is not an answer at all, not in the least\r\n\r\n"),
  http("repeats the request", (socket, request) =>
    socket.end(`${request.line}\r\n${request.headerLines.join("\r\n")}\r\n\r\n${request.body}`),
  ),
  http("speaks SSH", "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n"),
  http("speaks TLS", "\x15\x03\x01\x00\x02\x02\x46\x15\x03\x01\x00\x02\x02\x46"),
  http("speaks HTTP/2", "\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\0\x04\x08\0\0\0\0\0\0\x0f\0\x01"),
  http("closes without a byte", (socket) => void socket.destroy()),
  http("ends without a byte", (socket) => void socket.end()),
  http("resets", (socket) => void socket.resetAndDestroy()),
  http("closes within the head", (socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Ty")),
  http("resets within the body", (socket) => {
    socket.write("HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: 100\r\n\r\nonly", () =>
      socket.resetAndDestroy(),
    );
  }),
  http("closes before the promised length", (socket) =>
    socket.end("HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: 100\r\n\r\nonly"),
  ),
  http("closes before the last chunk", (socket) =>
    socket.end("HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
  ),
  http("gives two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
  http("gives a length that is not a number", (socket, request) =>
    socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${request.line}\r\n\r\nok`),
  ),
  http("gives a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok"),
  http("gives a length beyond 64 bits", `HTTP/1.1 200 OK\r\nContent-Length: ${"9".repeat(40)}\r\n\r\nok`),
  http("gives length and chunks", (socket) =>
    socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: gzip, chunked, x\r\n\r\nok"),
  ),
  http("uses a transfer coding that nobody knows", "HTTP/1.1 200 OK\r\nTransfer-Encoding: snappy\r\n\r\nok"),
  http(
    "sends a chunk of no size",
    "HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
  ),
  http("switches protocols unasked", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"),
  http("sends a head of 2 MiB", (socket) =>
    socket.end(`HTTP/1.1 200 OK\r\n${`X-Long: ${"a".repeat(8 * KIB)}\r\n`.repeat(256)}\r\n`),
  ),
  http("sends a thousand fields", (socket) =>
    socket.end(`HTTP/1.1 200 OK\r\n${"X-Many: a\r\n".repeat(1_000)}Content-Length: 0\r\n\r\n`),
  ),
  http("repeats the request as the name of a field", (socket, request) =>
    socket.end(`HTTP/1.1 200 OK\r\n${request.line}: x\r\nContent-Length: 0\r\n\r\n`),
  ),
  http("gives a field without a colon", "HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: 0\r\n\r\n"),
  http("puts NUL into a field", "HTTP/1.1 200 OK\r\nX-Nul: a\0b\r\nContent-Length: 0\r\n\r\n"),
  http("gives no status", "HTTP/1.1 OK fine\r\nContent-Length: 0\r\n\r\n"),
  http("gives a status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
  http("gives a version that does not exist", "HTTP/7.3 200 OK\r\nContent-Length: 0\r\n\r\n"),
];

/** Faults of answers to handshakes, and of the bytes right after them. */
const WEBSOCKET_FAULTS: readonly UpstreamFault[] = [
  websocket("answers a handshake with garbage", "this is not an answer at all, not in the least\r\n\r\n"),
  websocket("repeats the handshake", (socket, request) =>
    socket.end(`${request.line}\r\n${request.headerLines.join("\r\n")}\r\n\r\n`),
  ),
  websocket("closes a handshake without a byte", (socket) => void socket.destroy()),
  websocket("resets a handshake", (socket) => void socket.resetAndDestroy()),
  websocket("closes within the head of a handshake", (socket) => socket.end("HTTP/1.1 101 Swi")),
  websocket("leaves out Sec-WebSocket-Accept", (socket, request) => socket.write(upgradeHead(request, "", ""))),
  websocket("repeats the request as Sec-WebSocket-Accept", (socket, request) =>
    socket.write(upgradeHead(request, "", `Sec-WebSocket-Accept: ${request.line}\r\n`)),
  ),
  websocket("leaves out Upgrade", (socket, request) =>
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n${acceptOf(request)}\r\n`),
  ),
  websocket("leaves out Connection", (socket, request) =>
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n${acceptOf(request)}\r\n`),
  ),
  websocket("upgrades to something else", (socket, request) =>
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n${acceptOf(request)}\r\n`),
  ),
  websocket("chooses a sub-protocol that was not offered", (socket, request) =>
    socket.write(upgradeHead(request, "Sec-WebSocket-Protocol: never-offered\r\n")),
  ),
  websocket("takes an extension that was not offered", (socket, request) =>
    socket.write(upgradeHead(request, "Sec-WebSocket-Extensions: permessage-deflate\r\n")),
  ),
  websocket("sends a handshake of 2 MiB", (socket, request) =>
    socket.write(upgradeHead(request, `X-Long: ${"a".repeat(8 * KIB)}\r\n`.repeat(256))),
  ),
  websocket("refuses a handshake with an answer that ends early", (socket, request) =>
    socket.end(`HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n${request.line}`),
  ),
  afterUpgrade("sends a masked frame", [0x81, 0x82, 1, 2, 3, 4, 5, 6]),
  afterUpgrade("sets reserved bits", [0xf1, 0x02, 0x68, 0x69]),
  afterUpgrade("sends an opcode that does not exist", [0x83, 0x02, 0x68, 0x69]),
  afterUpgrade("sends a ping of 126 bytes", [0x89, 126, 0, 126]),
  afterUpgrade("sends text that is not UTF-8", [0x81, 0x02, 0xc3, 0x28]),
  afterUpgrade("sends a continuation of nothing", [0x80, 0x02, 0x68, 0x69]),
  afterUpgrade("announces a message of 2^62 bytes", [0x82, 127, 0x40, 0, 0, 0, 0, 0, 0, 0]),
  websocket("resets after the handshake", (socket, request) => {
    socket.write(upgradeHead(request), () => socket.resetAndDestroy());
  }),
];

export const UPSTREAM_FAULTS: readonly UpstreamFault[] = [...HTTP_FAULTS, ...WEBSOCKET_FAULTS];

/** A sandbox with the fault. Plain requests are answered when they are complete. */
export function startFaultUpstream(fault: UpstreamFault): Promise<RawUpstream> {
  return startRawUpstream(fault.answer);
}
