// Over HTTP/2, Bun.serve drops the body of GET, and nothing tells the handler that there was one.
//
// Expected: the handler can read the body (RFC 9110 §9.3.1, RFC 9113 §8.1), or at least sees that there is one.
// What happens: request.body is null. Over HTTP/2 a body needs no header, so the request looks like one without a body.
// What it costs: a gateway passes the request on without its body, with status 200, and cannot even refuse it.
import { connect } from "node:http2";

setTimeout(() => end(false), 14_000).unref();

const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  http2: true,
  async fetch(request) {
    const size = (await request.bytes()).length;
    return Response.json({ size, headers: [...request.headers.keys()] });
  },
});

function end(isReproduced: boolean): never {
  console.log(isReproduced ? "REPRODUCED" : "NOT REPRODUCED");
  process.exit();
}

const client = connect(server.url.origin);

/** Sends ten bytes, and returns what the handler saw. */
function send(method: string): Promise<string> {
  return new Promise((resolve) => {
    const stream = client.request({ ":method": method, ":path": "/" }, { endStream: false });
    let answer = "";
    stream.on("data", (data: Uint8Array) => (answer += Buffer.from(data).toString()));
    stream.on("end", () => {
      console.log(`${method} with a body of 10 bytes: the handler saw ${answer}`);
      resolve(answer);
    });
    stream.end("0123456789");
  });
}

const post = await send("POST");
const get = await send("GET");
end(post.includes('"size":10') && get.includes('"size":0'));
