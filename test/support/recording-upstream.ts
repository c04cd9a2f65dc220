import { createServer, type Socket } from "node:net";

import { parseStrictly, type StrictRequest } from "./strict-http.ts";

/** What has arrived: whole requests, and the starts of others whose connection was cut. */
export interface Seen {
  readonly requests: readonly StrictRequest[];
  readonly cut: readonly string[];
}

/** A sandbox that reads with the strict parser, keeps what it saw, and answers every whole request with 200. */
export interface RecordingUpstream extends AsyncDisposable {
  readonly port: number;
  /** Takes what was seen since the last call. Throws where the bytes were ambiguous. */
  take(): Seen;
}

const ANSWER = "HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: 2\r\n\r\n";

export async function startRecordingUpstream(): Promise<RecordingUpstream> {
  let requests: StrictRequest[] = [];
  let cut: string[] = [];
  let faults: string[] = [];
  const rests = new Map<Socket, string>();
  const server = createServer((socket) => {
    rests.set(socket, "");
    socket.on("error", () => {});
    socket.on("close", () => {
      const rest = rests.get(socket) ?? "";
      if (rest !== "") cut.push(rest);
      rests.delete(socket);
    });
    socket.on("data", (data) => {
      try {
        const parsed = parseStrictly(`${rests.get(socket) ?? ""}${data.toString("latin1")}`);
        rests.set(socket, parsed.rest);
        requests.push(...parsed.requests);
        for (const { method } of parsed.requests) socket.write(method === "HEAD" ? ANSWER : `${ANSWER}ok`);
      } catch (error) {
        rests.set(socket, "");
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
      for (const socket of rests.keys()) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
