import type { Socket } from "node:net";

import { startRawUpstream } from "./raw-upstream.ts";
import { acceptKey } from "../../scripts/lib/stage/raw-websocket.ts";

/** A sandbox that accepts every WebSocket and leaves the rest to the test. */
export interface WebSocketSandbox extends AsyncDisposable {
  readonly port: number;
  /** The sandbox's ends, in the order in which they were opened. */
  readonly ends: readonly Socket[];
}

/** Listens on a free port. Requests without a WebSocket handshake get 200 and `ok`. */
export async function startWebSocketSandbox(): Promise<WebSocketSandbox> {
  const ends: Socket[] = [];
  const upstream = await startRawUpstream((socket, { headerLines }) => {
    const line = headerLines.find((header) => /^sec-websocket-key:/i.test(header));
    if (line === undefined) return void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    const key = line.slice(line.indexOf(":") + 1).trim();
    socket.removeAllListeners("data");
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptKey(key)}\r\n\r\n`,
    );
    ends.push(socket);
  });
  return { port: upstream.port, ends, [Symbol.asyncDispose]: () => upstream[Symbol.asyncDispose]() };
}
