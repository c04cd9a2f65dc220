// websocket-load.ts: WebSockets over bare sockets, so that the load costs far less than the measured program.
//
// Alternatives: Tsung (Debian; sessions and arrival rates, but no echo at full speed), k6 (not in Debian; a JavaScript
// engine per user costs more CPU per message than any of the proxies), wsperf and thor (no longer maintained), Autobahn
// (conformance, not load). So frames are built once, and only the lengths of the answers are read.
import type { Socket } from "bun";
import { endWithParent } from "./child-process.ts";
import { buildHead, openAll, readRawLoad } from "./raw-load.ts";
import { LatencyHistogram } from "./statistics.ts";

/** FIN and "binary" (RFC 6455 §5.2). */
const BINARY_FRAME = 0x82;
const MASKED = 0x80;
const MASK = [0x12, 0x34, 0x56, 0x78] as const;

interface Peer {
  open: boolean;
  head: string;
  /** Bytes of the echo still to come. */
  missing: number;
  sentAt: number;
  readonly opened: PromiseWithResolvers<void>;
}

const load = readRawLoad();
const head = buildHead(load, [
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==",
]);
const frame = buildFrame(load.messageBytes);
/** A server's frame has no mask. */
const echoBytes = frame.byteLength - MASK.length;
const histogram = new LatencyHistogram();
let running = false;
const failed = Promise.withResolvers<never>();

function buildFrame(bytes: number): Buffer {
  const payload = Buffer.alloc(bytes, "x").map((byte, index) => byte ^ (MASK[index % MASK.length] ?? 0));
  const length = bytes < 126 ? [bytes | MASKED] : [126 | MASKED, bytes >> 8, bytes & 0xff];
  return Buffer.concat([Buffer.from([BINARY_FRAME, ...length, ...MASK]), payload]);
}

async function open(): Promise<Socket<Peer>> {
  const peer: Peer = { open: false, head: "", missing: echoBytes, sentAt: 0, opened: Promise.withResolvers() };
  const socket = await Bun.connect<Peer>({
    hostname: "127.0.0.1",
    port: load.port,
    data: peer,
    socket: {
      data: receive,
      close: () => failed.reject(new Error("the other side closed a WebSocket")),
    },
  });
  socket.write(head);
  await peer.opened.promise;
  return socket;
}

function receive(socket: Socket<Peer>, bytes: Buffer): void {
  const peer = socket.data;
  if (!peer.open) return receiveHead(peer, bytes);
  peer.missing -= bytes.byteLength;
  if (peer.missing > 0) return;
  const now = performance.now();
  histogram.add(now - peer.sentAt);
  if (running) send(socket, now);
}

function receiveHead(peer: Peer, bytes: Buffer): void {
  peer.head += bytes.toString("latin1");
  if (!peer.head.includes("\r\n\r\n")) return;
  if (!peer.head.startsWith("HTTP/1.1 101")) {
    failed.reject(new Error(`no WebSocket: ${peer.head.slice(0, peer.head.indexOf("\r\n"))}`));
  }
  peer.open = true;
  peer.opened.resolve();
}

function send(socket: Socket<Peer>, now: number): void {
  socket.data.sentAt = now;
  socket.data.missing = echoBytes;
  // One message is in flight, which fits into any socket buffer.
  if (socket.write(frame) !== frame.byteLength) failed.reject(new Error("a frame did not fit into the socket"));
}

endWithParent();
const sockets = await openAll(load, open, failed.promise);
console.log(JSON.stringify({ opened: sockets.length }));
if (load.messageBytes === 0) await failed.promise;
running = true;
const startedAt = performance.now();
for (const socket of sockets) send(socket, startedAt);
await Promise.race([Bun.sleep(load.seconds * 1000), failed.promise]);
running = false;
const result = {
  requests: histogram.count,
  seconds: (performance.now() - startedAt) / 1000,
  p50Ms: histogram.percentile(0.5),
  p99Ms: histogram.percentile(0.99),
};
console.log(JSON.stringify(result));
