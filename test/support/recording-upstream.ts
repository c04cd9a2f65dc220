import { createServer, type Socket } from "node:net";

import { parseStrictRequests, type StrictRequest } from "./strict-request-parser.ts";

/** Received requests: complete ones, and beginnings of others whose connection was cut. */
export interface Seen {
  readonly requests: readonly StrictRequest[];
  readonly cut: readonly string[];
}

/** A sandbox with the strict parser. It keeps its requests and answers every complete one with 200. */
export interface RecordingUpstream extends AsyncDisposable {
  readonly port: number;
  /** Returns the requests since the last call. Throws if the bytes were ambiguous. */
  take(): Seen;
}

/** The bytes of one connection. */
interface Stream {
  bytes: string;
  /** Requests in `bytes` that have been answered. */
  answered: number;
}

const ANSWER = "HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: 2\r\n\r\n";

export async function startRecordingUpstream(): Promise<RecordingUpstream> {
  let requests: StrictRequest[] = [];
  let cut: string[] = [];
  let faults: string[] = [];
  const streams = new Map<Socket, Stream>();
  const server = createServer((socket) => {
    const stream: Stream = { bytes: "", answered: 0 };
    streams.set(socket, stream);
    socket.on("error", () => {});
    socket.on("close", () => {
      if (stream.bytes !== "") cut.push(stream.bytes);
      streams.delete(socket);
    });
    socket.on("data", (data) => {
      stream.bytes += data.toString("latin1");
      try {
        const parsed = parseStrictRequests(stream.bytes);
        const fresh = parsed.requests.slice(stream.answered);
        requests.push(...fresh);
        for (const { method } of fresh) socket.write(method === "HEAD" ? ANSWER : `${ANSWER}ok`);
        Object.assign(stream, parsed.isComplete ? { bytes: "", answered: 0 } : { answered: parsed.requests.length });
      } catch (error) {
        stream.bytes = "";
        faults.push(String(error));
        socket.destroy();
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    port: address.port,
    take() {
      const taken = { requests, cut, faults };
      requests = [];
      cut = [];
      faults = [];
      if (taken.faults.length > 0) throw new Error(`the sandbox got ambiguous bytes: ${taken.faults.join("; ")}`);
      return taken;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of streams.keys()) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
