// Bun.serve drops the Content-Length of a streamed answer.
//
// Expected: the handler's Content-Length reaches the client, and the body is sent as it is (RFC 9110 §8.6: a server SHOULD
// send it if it knows the size). Node and Deno do so.
// What happens: the header is removed, and the body is sent chunked.
// What it costs: no progress bars; s3cmd, boto3's ContentLength and other clients that need the length fail.
import { connect } from "node:net";

setTimeout(() => end(false), 14_000).unref();

const SIZE = 1_000_000;
const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  fetch: () =>
    new Response(
      new ReadableStream({
        async pull(controller) {
          await Bun.sleep(10);
          controller.enqueue(new Uint8Array(SIZE));
          controller.close();
        },
      }),
      { headers: { "Content-Length": String(SIZE), "Content-Type": "application/octet-stream" } },
    ),
});

function end(isReproduced: boolean): never {
  console.log(isReproduced ? "REPRODUCED" : "NOT REPRODUCED");
  process.exit();
}

let received = "";
const client = connect(server.port ?? 0, "127.0.0.1", () => client.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
client.on("data", (data) => {
  received += data.toString("latin1");
  const headEnd = received.indexOf("\r\n\r\n");
  if (headEnd < 0) return;
  const head = received.slice(0, headEnd);
  console.log(`given: Content-Length: ${SIZE}\narrived:\n${head}`);
  end(!/^content-length:/im.test(head) && /^transfer-encoding: chunked/im.test(head));
});
