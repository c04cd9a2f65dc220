import { expect, test } from "bun:test";

import type { Socket } from "node:net";

import { eventually } from "../../scripts/lib/eventually.ts";
import { startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw } from "../../scripts/lib/stage/raw-client.ts";
import { startRawUpstream } from "../support/raw-upstream.ts";

const DRIP_INTERVAL_MS = 10;
const KNOWN_LENGTH = "HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: 1000000\r\n\r\n";
const CHUNKED = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/** Sends these bytes again and again, until the connection ends. */
function drip(socket: Socket, bytes: string): void {
  const timer = setInterval(() => socket.write(bytes), DRIP_INTERVAL_MS);
  socket.on("close", () => clearInterval(timer));
}

/** The faults of the process while `run` runs, until the rejections of its last turn are reported. */
async function rejectionsDuring(run: () => Promise<void>): Promise<unknown[]> {
  const rejections: unknown[] = [];
  const note = (reason: unknown): void => void rejections.push(reason);
  process.on("unhandledRejection", note);
  try {
    await run();
    await Bun.sleep(0);
  } finally {
    process.off("unhandledRejection", note);
  }
  return rejections;
}

test.each([
  ["drips, its length known", KNOWN_LENGTH, "y", {}],
  ["stalls, its length known", `${KNOWN_LENGTH}begun`, "", {}],
  ["drips in chunks", CHUNKED, "1\r\ny\r\n", {}],
  ["stalls before its first chunk", CHUNKED, "", {}],
  ["stalls before its first chunk, a line feed goes first", CHUNKED, "", { streamEarlyNewline: true }],
  ["drips and finds no room", KNOWN_LENGTH, "y", { budgetBytes: 1_500_000 }],
])("relayAnswer leaves no rejection behind if a client leaves an answer that %s", async (_name, head, more, config) => {
  await using proxy = startProxy(config);
  proxy.provider.set({ name: "sb" });
  const heads: Socket[] = [];
  await using sandbox = await startRawUpstream((socket) => {
    socket.write(head);
    if (more !== "") drip(socket, more);
    heads.push(socket);
  });
  const rejections = await rejectionsDuring(async () => {
    for (let n = 1; n <= 5; n++) {
      const client = await openRaw(proxy.port);
      client.write(`GET / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${sandbox.port}\r\n\r\n`);
      await eventually(() => heads.length === n);
      // Its stream is made for a client that is gone, so nobody ever reads it.
      client.destroy();
      await eventually(() => proxy.server.inFlight() === 0 && sandbox.open.size === 0);
    }
  });
  expect(rejections).toEqual([]);
  expect(proxy.server.counters()).toEqual({ exchanges: 0, clients: 0, heldBytes: 0, tunnels: 0 });
});
