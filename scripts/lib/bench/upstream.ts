// upstream.ts: stands in for a sandbox, in its own process. Prints its ports as JSON; ends with its stdin.
//
// Bun.serve answers static routes without running JavaScript; uploads and answers in chunks are on bare sockets: one core
// serves several times the load of any proxy here.
import type { Socket } from "bun";
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { endWithParent } from "./child-process.ts";
import { startChunkedServer } from "./chunked-server.ts";

const KIB = 1024;
const GIB = 1024 ** 3;
/** Every stream gets a frame in this time, a part of them at each step, so that no burst is longer than a step. */
const FRAME_INTERVAL_MS = 1_000;
const FRAME_STEPS = 50;
const TEXT = { "Content-Type": "text/plain" };

const folder = mkdtempSync(join(tmpdir(), "ingress-bench-upstream-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
const large = join(folder, "1g");
const descriptor = openSync(large, "w");
ftruncateSync(descriptor, GIB); // Sparse: takes no space, and is served from the page cache.
closeSync(descriptor);

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  idleTimeout: 0,
  maxRequestBodySize: 4 * GIB,
  development: false,
  routes: {
    "/1k": new Response(Buffer.alloc(KIB, "x"), { headers: TEXT }),
    "/1m": new Response(Buffer.alloc(KIB * KIB, "x"), { headers: TEXT }),
    "/1g": new Response(Bun.file(large)),
  },
  async fetch(request, server) {
    const { pathname } = new URL(request.url);
    if (pathname === "/websocket" && server.upgrade(request)) return undefined;
    if (pathname === "/events") return openStream();
    if (pathname !== "/post") return new Response("no such path", { status: 404 });
    return new Response(`${(await request.bytes()).byteLength}`, { headers: TEXT });
  },
  websocket: {
    idleTimeout: 0,
    sendPings: false,
    perMessageDeflate: false,
    message: (socket, data) => void socket.send(data),
  },
});

type StreamController = Bun.DirectUnderlyingSource<string>["pull"] extends (controller: infer C) => unknown ? C : never;
const streams: StreamController[] = [];
let step = 0;

function openStream(): Response {
  const source: Bun.DirectUnderlyingSource<string> = {
    type: "direct",
    async pull(controller) {
      streams.push(controller);
      await controller.write(": open\n\n");
      await controller.flush();
      await new Promise(() => {}); // Open until the client leaves.
    },
  };
  return new Response(new ReadableStream(source), { headers: { "Content-Type": "text/event-stream" } });
}

/** A frame contains its time of sending, in milliseconds of the wall clock. */
function sendFrames(): void {
  step = (step + 1) % FRAME_STEPS;
  for (let index = step; index < streams.length; index += FRAME_STEPS) {
    const controller = streams[index];
    void controller?.write(`data: ${(performance.timeOrigin + performance.now()).toFixed(3)}\n\n`);
    void controller?.flush();
  }
}
setInterval(sendFrames, FRAME_INTERVAL_MS / FRAME_STEPS);

interface Upload {
  /** Bytes of the body still to come; undefined if the head is incomplete or the body is chunked. */
  left: number | undefined;
  head: string;
  headDone: boolean;
}

const LAST_CHUNK = "0\r\n\r\n";
const SINK_ANSWER = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok";

/** Accepts one upload after the other and only looks for its end. The uploads contain only zeros. */
const sink = Bun.listen<Upload>({
  hostname: "127.0.0.1",
  port: 0,
  socket: {
    open: (socket) => void (socket.data = { left: undefined, head: "", headDone: false }),
    data: (socket, bytes) => receiveUpload(socket, bytes),
  },
});

function receiveUpload(socket: Socket<Upload>, bytes: Buffer): void {
  const upload = socket.data;
  let body = bytes;
  if (!upload.headDone) {
    upload.head += bytes.toString("latin1");
    const end = upload.head.indexOf("\r\n\r\n");
    if (end < 0) return;
    body = bytes.subarray(bytes.byteLength - (upload.head.length - end - 4));
    upload.headDone = true;
    const length = /\r\ncontent-length: *(\d+)/i.exec(upload.head.slice(0, end))?.[1];
    upload.left = length === undefined ? undefined : Number(length);
    if (/\r\nexpect: *100-continue/i.test(upload.head.slice(0, end))) socket.write("HTTP/1.1 100 Continue\r\n\r\n");
  }
  if (upload.left !== undefined) upload.left -= body.byteLength;
  const ended =
    upload.left === undefined ? body.subarray(-LAST_CHUNK.length).toString("latin1") === LAST_CHUNK : upload.left <= 0;
  if (!ended) return;
  socket.data = { left: undefined, head: "", headDone: false };
  socket.write(SINK_ANSWER);
}

console.log(JSON.stringify({ port: server.port, sinkPort: sink.port, chunkedPort: startChunkedServer() }));
endWithParent();
