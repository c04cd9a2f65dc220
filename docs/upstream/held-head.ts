// Bun.serve holds the end of a streamed answer's head until the stream's first byte.
//
// Expected: the whole head leaves when the handler returns its Response (RFC 9112 §6: the head stands by itself; WHATWG
// HTML, server-sent events: EventSource reports "open" with the head). Node and Deno do so.
// What happens: the status line and the handler's headers leave, but Date, Transfer-Encoding and the empty line wait.
// What it costs: EventSource opens late, and clients with a limit for the head give up on a stream that is still silent.
import { connect } from "node:net";

const SILENCE_MS = 1_000;
setTimeout(() => end(false), 14_000).unref();

let received = "";
let headWasWhole = false;
const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  fetch: () =>
    new Response(
      new ReadableStream({
        async start(controller) {
          await Bun.sleep(SILENCE_MS);
          headWasWhole = received.includes("\r\n\r\n");
          console.log(`received during ${SILENCE_MS} ms without a body: ${JSON.stringify(received)}`);
          controller.enqueue("data: first\n\n");
        },
      }),
      { headers: { "Content-Type": "text/event-stream" } },
    ),
});

function end(isReproduced: boolean): never {
  console.log(isReproduced ? "REPRODUCED" : "NOT REPRODUCED");
  process.exit();
}

const start = performance.now();
const client = connect(server.port ?? 0, "127.0.0.1", () => client.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
client.on("data", (data) => {
  received += data.toString();
  if (!received.includes("\r\n\r\n")) return;
  console.log(`head whole after ${Math.round(performance.now() - start)} ms`);
  end(!headWasWhole);
});
