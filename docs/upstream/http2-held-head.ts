// Over HTTP/2, Bun.serve holds the head of a streamed answer until the stream's first byte.
//
// Expected: the HEADERS frame leaves when the handler returns its Response (RFC 9113 §8.1: HEADERS, then DATA).
// What happens: nothing at all is sent before the first byte of the body.
// What it costs: as held-head.ts over HTTP/1.1: EventSource opens late, and limits for the head end silent streams.
import { connect } from "node:http2";

const SILENCE_MS = 1_000;
setTimeout(() => end(false), 14_000).unref();

let hasHead = false;
let hadHeadBeforeBody = false;
const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  http2: true,
  fetch: () =>
    new Response(
      new ReadableStream({
        async start(controller) {
          await Bun.sleep(SILENCE_MS);
          hadHeadBeforeBody = hasHead;
          controller.enqueue("data: first\n\n");
          controller.close();
        },
      }),
      { headers: { "Content-Type": "text/event-stream" } },
    ),
});

function end(isReproduced: boolean): never {
  console.log(isReproduced ? "REPRODUCED" : "NOT REPRODUCED");
  process.exit();
}

const client = connect(server.url.origin);
await new Promise((resolve) => client.once("remoteSettings", resolve));
const start = performance.now();
const stream = client.request({ ":path": "/" });
stream.on("response", () => {
  hasHead = true;
  console.log(
    `first byte of the body given after ${SILENCE_MS} ms; head after ${Math.round(performance.now() - start)} ms`,
  );
});
stream.resume();
stream.on("end", () => end(hasHead && !hadHeadBeforeBody));
