// Bun.serve does not end an answer whose stream failed while its client does not read.
//
// Expected: HTTP/2 resets the stream (RFC 9113 §5.4.2), which needs no window; HTTP/1.1 closes the connection.
// What happens: nothing, until the idle timeout or the client ends it. What is buffered of the answer stays in memory.
// What it costs: a client that reads nothing holds memory of answers that the server gave up, many for each connection.
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";

const WAIT_MS = 3_000;
setTimeout(() => end(false), 14_000).unref();

let failed = Promise.withResolvers<void>();
const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  http2: true,
  idleTimeout: 0,
  development: false,
  fetch: () =>
    new Response(
      new ReadableStream({
        pull: (controller) => (controller.enqueue(new Uint8Array(1_000_000)), Bun.sleep(1)),
        start(controller) {
          setTimeout(() => (controller.error(new Error("gave up")), failed.resolve()), 500);
        },
      }),
    ),
});

/** Whether the request ends within the wait, after the answer has failed. */
async function isEnded(name: string, closed: Promise<unknown>): Promise<boolean> {
  await failed.promise;
  const at = performance.now();
  const ended = await Promise.race([closed.then(() => true), Bun.sleep(WAIT_MS).then(() => false)]);
  const ms = Math.round(performance.now() - at);
  console.log(`${name}: ${ended ? `ended after ${ms} ms` : `open after ${WAIT_MS} ms`}`);
  failed = Promise.withResolvers();
  return ended;
}

function end(isReproduced: boolean): never {
  console.log(isReproduced ? "REPRODUCED" : "NOT REPRODUCED");
  process.exit();
}

async function overHttp2(name: string, reads: boolean): Promise<boolean> {
  const stream = connectHttp2(server.url.origin).request({ ":path": "/" });
  stream.on("error", () => {});
  if (reads) stream.resume();
  return isEnded(name, new Promise((resolve) => stream.once("close", resolve)));
}

const read = await overHttp2("HTTP/2, read", true);
const unread = await overHttp2("HTTP/2, not read", false);
const raw = connect(server.port ?? 0, "127.0.0.1").pause();
raw.on("error", () => {});
raw.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
const pending = () => server.pendingRequests === (unread ? 1 : 2);
await isEnded("HTTP/1.1, not read", new Promise((resolve) => setInterval(() => pending() || resolve(0), 50)));
end(read && !unread);
