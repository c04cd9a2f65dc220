import { connect, type Socket } from "node:net";

/** A raw HTTP answer, for tests that care about bytes. */
export interface RawAnswer {
  readonly status: number;
  readonly reason: string;
  /** Lower-cased name and value, in their order, one entry per line. */
  readonly headers: readonly (readonly [string, string])[];
  /** The body with its chunking removed. */
  readonly body: string;
  /** All received bytes. */
  readonly raw: string;
}

/** A TCP connection that keeps what it reads. */
export interface RawConnection {
  write(data: string | Uint8Array): void;
  /** The bytes read but not taken yet, as latin1. */
  readonly received: string;
  /** Resolves when the received text satisfies the predicate, or the connection has ended. */
  until(predicate: (received: string) => boolean): Promise<string>;
  /** Reads one complete answer and takes it from the buffer. `head`: an answer to HEAD has no body. */
  readAnswer(options?: { readonly head?: boolean }): Promise<RawAnswer>;
  /** Resolves with all received text when the other side has closed. */
  closed(): Promise<string>;
  readonly isClosed: boolean;
  readonly socket: Socket;
  destroy(): void;
}

export async function openRaw(port: number, host = "127.0.0.1"): Promise<RawConnection> {
  const socket = connect({ port, host });
  let received = "";
  let isClosed = false;
  const waiters = new Set<() => void>();
  const wake = (): void => {
    for (const waiter of waiters) waiter();
  };
  socket.on("data", (data: Buffer) => {
    received += data.toString("latin1");
    wake();
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    isClosed = true;
    wake();
  });
  const until = async (predicate: (text: string) => boolean): Promise<string> => {
    for (;;) {
      if (predicate(received) || isClosed) return received;
      await new Promise<void>((resolve) => {
        const waiter = (): void => {
          waiters.delete(waiter);
          resolve();
        };
        waiters.add(waiter);
      });
    }
  };
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  return {
    write: (data) => void socket.write(data),
    get received() {
      return received;
    },
    get isClosed() {
      return isClosed;
    },
    socket,
    until,
    async readAnswer(options = {}) {
      await until((text) => parseAnswer(text, options) !== undefined);
      const parsed = parseAnswer(received, { ...options, ended: isClosed });
      if (parsed === undefined) throw new Error(`incomplete answer in ${JSON.stringify(received.slice(0, 500))}`);
      received = received.slice(parsed.raw.length);
      return parsed;
    },
    async closed() {
      await until(() => false);
      return received;
    },
    destroy: () => void socket.destroy(),
  };
}

/** Sends one request over a new connection and reads the answer. */
export async function rawRequest(
  port: number,
  request: string | Uint8Array,
  options: { head?: boolean; host?: string } = {},
): Promise<RawAnswer> {
  const connection = await openRaw(port, options.host);
  try {
    connection.write(request);
    return await connection.readAnswer(options);
  } finally {
    connection.destroy();
  }
}

/** All values of a header of an answer. */
export function headerValues(answer: RawAnswer, name: string): string[] {
  return answer.headers.filter(([key]) => key === name.toLowerCase()).map(([, value]) => value);
}

interface ParseOptions {
  readonly head?: boolean;
  /** The connection has ended, which ends a body without a length. */
  readonly ended?: boolean;
}

function parseAnswer(text: string, options: ParseOptions): RawAnswer | undefined {
  const headEnd = text.indexOf("\r\n\r\n");
  if (headEnd < 0) return undefined;
  const [statusLine = "", ...lines] = text.slice(0, headEnd).split("\r\n");
  const match = /^HTTP\/1\.1 (\d{3}) ?(.*)$/.exec(statusLine);
  if (match === null) return undefined;
  const status = Number(match[1]);
  if (status < 200 && status !== 101) return parseAnswer(text.slice(headEnd + 4), options);
  const headers = lines.map((line): readonly [string, string] => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  const value = (name: string): string | undefined => headers.find(([key]) => key === name)?.[1];
  const rest = text.slice(headEnd + 4);
  const bodiless = options.head === true || status === 204 || status === 304 || status === 101;
  const framed = bodiless
    ? { body: "", length: 0 }
    : value("transfer-encoding") === "chunked"
      ? readChunks(rest)
      : readLength(rest, value("content-length"), options.ended === true);
  if (framed === undefined) return undefined;
  const raw = text.slice(0, headEnd + 4 + framed.length);
  return { status, reason: match[2] ?? "", headers, body: framed.body, raw };
}

function readLength(
  rest: string,
  header: string | undefined,
  ended: boolean,
): { body: string; length: number } | undefined {
  if (header === undefined) return ended ? { body: rest, length: rest.length } : undefined;
  const length = Number(header);
  return rest.length < length ? undefined : { body: rest.slice(0, length), length };
}

function readChunks(rest: string): { body: string; length: number } | undefined {
  let body = "";
  let position = 0;
  for (;;) {
    const lineEnd = rest.indexOf("\r\n", position);
    if (lineEnd < 0) return undefined;
    const size = Number.parseInt(rest.slice(position, lineEnd), 16);
    const next = lineEnd + 2 + size + 2;
    if (rest.length < next) return undefined;
    body += rest.slice(lineEnd + 2, lineEnd + 2 + size);
    position = next;
    if (size === 0) return { body, length: position };
  }
}
