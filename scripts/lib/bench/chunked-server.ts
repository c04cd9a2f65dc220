import type { Socket } from "bun";

const KIB = 1024;
/** What an ordinary server writes at a time. */
const CHUNK_BYTES = 16 * KIB;
/** Chunks that are written in one piece. */
const BATCH_CHUNKS = 16;
const BATCH_BYTES = BATCH_CHUNKS * CHUNK_BYTES;
const HEAD = Buffer.from(
  "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
);
const LAST_CHUNK = Buffer.from("0\r\n\r\n");
const CHUNK = Buffer.concat([
  Buffer.from(`${CHUNK_BYTES.toString(16)}\r\n`),
  Buffer.alloc(CHUNK_BYTES, "x"),
  Buffer.from("\r\n"),
]);
const BATCH = Buffer.concat(Array.from({ length: BATCH_CHUNKS }, () => CHUNK));
/** Batches of the body of each path. */
const BATCHES: ReadonlyMap<string, number> = new Map([
  ["/chunked/1m", KIB ** 2 / BATCH_BYTES],
  ["/chunked/1g", KIB ** 3 / BATCH_BYTES],
]);

interface Download {
  head: string;
  /** Batches of the current answer still to begin. */
  batches: number;
  /** The piece that is being written, from its first unwritten byte. */
  piece: Buffer | undefined;
}

/**
 * Serves `/chunked/1m` and `/chunked/1g` with bodies in chunks of 16 KB and returns its port. On a bare socket, because
 * `Bun.serve` spends more on a streamed answer than most proxies do on passing it on.
 */
export function startChunkedServer(): number {
  const server = Bun.listen<Download>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open: (socket) => void (socket.data = { head: "", batches: 0, piece: undefined }),
      data: receive,
      drain: write,
    },
  });
  return server.port;
}

/** Reads one request after the other. None has a body, and none is sent before the previous answer is complete. */
function receive(socket: Socket<Download>, bytes: Buffer): void {
  const download = socket.data;
  download.head += bytes.toString("latin1");
  if (!download.head.includes("\r\n\r\n")) return;
  const path = download.head.split(" ", 2)[1] ?? "";
  download.head = "";
  const batches = BATCHES.get(path);
  if (batches === undefined) {
    socket.end("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    return;
  }
  download.batches = batches;
  download.piece = HEAD;
  write(socket);
}

function write(socket: Socket<Download>): void {
  const download = socket.data;
  while (download.piece !== undefined) {
    const written = socket.write(download.piece);
    if (written < download.piece.byteLength) {
      download.piece = download.piece.subarray(Math.max(0, written));
      return;
    }
    if (download.piece === LAST_CHUNK) download.piece = undefined;
    else if (download.batches === 0) download.piece = LAST_CHUNK;
    else {
      download.batches -= 1;
      download.piece = BATCH;
    }
  }
}
