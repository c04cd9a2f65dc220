// Bun.serve does not notice that the client of an upload has left while the handler does not read the body.
//
// Expected: request.signal aborts. The kernel reports the end of TCP although nobody reads (epoll(7): EPOLLRDHUP; the
// socket is in CLOSE_WAIT, RFC 9293 §3.3.2), and with "Content-Length" not reached it can only mean that the client left.
// What happens: beyond 1 MiB that waits, Bun pauses the socket, and sees no FIN until the handler reads. A reset is seen.
// What it costs: request, memory and place stay taken for as long as the handler, or the server behind a proxy, is slow.
import { connect } from "node:net";

const WAIT_MS = 3_000;
setTimeout(() => end(false), 14_000).unref();

let started = Promise.withResolvers<AbortSignal>();
const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  idleTimeout: 0,
  async fetch(request) {
    void request.body;
    started.resolve(request.signal);
    await Bun.sleep(10_000);
    return new Response("late");
  },
});

/** Lets a client send so much and leave; says whether the handler's signal aborted within the wait. */
async function leave(name: string, size: number, isReset: boolean): Promise<boolean> {
  started = Promise.withResolvers();
  const client = connect(server.port ?? 0, "127.0.0.1");
  client.on("error", () => {});
  client.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${size * 2}\r\n\r\n`);
  client.write(new Uint8Array(size));
  const signal = await started.promise;
  await Bun.sleep(500);
  const left = performance.now();
  if (isReset) client.resetAndDestroy();
  else client.destroy();
  while (!signal.aborted && performance.now() - left < WAIT_MS) await Bun.sleep(1);
  const ms = Math.round(performance.now() - left);
  console.log(`${name}: ${signal.aborted ? `noticed after ${ms} ms` : `not noticed within ${WAIT_MS} ms`}`);
  return signal.aborted;
}

function end(isReproduced: boolean): never {
  console.log(isReproduced ? "REPRODUCED" : "NOT REPRODUCED");
  process.exit();
}

const below = await leave("1,000,000 bytes, then FIN", 1_000_000, false);
const above = await leave("1,100,000 bytes, then FIN", 1_100_000, false);
const reset = await leave("1,100,000 bytes, then a reset", 1_100_000, true);
end(below && !above && reset);
