import { createServer, type Socket } from "node:net";

/** One request as received, latin1. */
export interface SeenRequest {
  /** The request line. */
  readonly line: string;
  /** Header lines as sent. */
  readonly headerLines: readonly string[];
  /** All bytes after the head, unparsed, including the framing. */
  readonly body: string;
}

/** A small sandbox that shows the received bytes and answers with the test's bytes. */
export interface RawUpstream extends AsyncDisposable {
  readonly port: number;
  readonly requests: readonly SeenRequest[];
  /** Connections accepted so far. */
  readonly connections: number;
  /** Connections that are open now. */
  readonly open: ReadonlySet<Socket>;
}

/** The test's handling of one request: it writes to the socket. */
export type Answerer = (socket: Socket, request: SeenRequest) => void;

/**
 * Listens on a free port. `answer` is called when a request is complete: by Content-Length, by the last chunk, or,
 * without either, after its head. With `early` it is called after each head, before the body.
 */
export async function startRawUpstream(
  answer: string | Answerer,
  options: { readonly early?: boolean; readonly host?: string; readonly port?: number } = {},
): Promise<RawUpstream> {
  const requests: SeenRequest[] = [];
  const open = new Set<Socket>();
  let connections = 0;
  const respond: Answerer = typeof answer === "string" ? (socket) => void socket.write(answer, "latin1") : answer;
  const server = createServer((socket) => {
    connections++;
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    socket.on("error", () => {});
    let buffer = "";
    let announced = false;
    socket.on("data", (data) => {
      buffer += data.toString("latin1");
      for (;;) {
        const headEnd = buffer.indexOf("\r\n\r\n");
        if (headEnd < 0) return;
        const [line = "", ...headerLines] = buffer.slice(0, headEnd).split("\r\n");
        if (options.early === true && !announced) {
          announced = true;
          respond(socket, { line, headerLines, body: "" });
        }
        const length = bodyLength(headerLines, buffer.slice(headEnd + 4));
        if (length === undefined) return;
        const request = { line, headerLines, body: buffer.slice(headEnd + 4, headEnd + 4 + length) };
        buffer = buffer.slice(headEnd + 4 + length);
        requests.push(request);
        if (options.early !== true) respond(socket, request);
        announced = false;
      }
    });
  });
  const host = options.host ?? "127.0.0.1";
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port: options.port ?? 0, host, backlog: 1024 }, resolve);
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    port: address.port,
    requests,
    open,
    get connections() {
      return connections;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** The value of a header in a request's lines, or undefined. */
export function headerOf(request: SeenRequest | undefined, name: string): string | undefined {
  const prefix = `${name.toLowerCase()}:`;
  const line = request?.headerLines.find((candidate) => candidate.toLowerCase().startsWith(prefix));
  return line?.slice(prefix.length).trim();
}

/** The length of the body at the start of `text`; undefined if it is incomplete. */
function bodyLength(headerLines: readonly string[], text: string): number | undefined {
  const lower = headerLines.map((line) => line.toLowerCase());
  if (lower.some((line) => line.startsWith("transfer-encoding:") && line.includes("chunked"))) {
    if (text.startsWith("0\r\n\r\n")) return 5;
    const end = text.indexOf("\r\n0\r\n\r\n");
    return end < 0 ? undefined : end + 7;
  }
  const length = Number(lower.find((line) => line.startsWith("content-length:"))?.slice(15) ?? 0);
  return text.length < length ? undefined : length;
}
