// Bun.serve drops the body of GET and HEAD.
//
// Expected: the handler can read the body. It has no meaning of its own in GET, but is framed and received as in any
// request (RFC 9110 §9.3.1, RFC 9112 §6), and gateways must not lose it. node:http delivers it, also in Bun.
// What happens: the body is read and thrown away; request.body is null. With "Transfer-Encoding: chunked" nothing even
// tells an empty body from a lost one.
// What it costs: a gateway must refuse such requests, or a search with its query in the body of a GET finds everything.
import { createServer } from "node:http";
import { connect } from "node:net";

setTimeout(() => end(false), 14_000).unref();

const fast = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  fetch: async (request) => new Response(null, { headers: { "X-Got": String((await request.bytes()).length) } }),
});
const node = createServer((request, response) => {
  let got = 0;
  request.on("data", (data: Uint8Array) => (got += data.length));
  request.on("end", () => response.writeHead(200, { "X-Got": got }).end());
});
await new Promise<void>((resolve) => void node.listen(0, "127.0.0.1", resolve));
const address = node.address();
const ports = { "Bun.serve": fast.port ?? 0, "node:http": typeof address === "object" ? (address?.port ?? 0) : 0 };

/** Sends ten bytes, and returns how many the handler got. */
function send(port: number, method: string, framing: string, body: string): Promise<string> {
  return new Promise((resolve) => {
    const client = connect(port, "127.0.0.1", () =>
      client.write(`${method} / HTTP/1.1\r\nHost: x\r\n${framing}\r\n\r\n${body}`),
    );
    client.once("data", (data) => {
      client.destroy();
      resolve(/^x-got: (\d+)/im.exec(data.toString())?.[1] ?? data.toString());
    });
  });
}

function end(isReproduced: boolean): never {
  console.log(isReproduced ? "REPRODUCED" : "NOT REPRODUCED");
  process.exit();
}

const got: Record<string, string> = {};
for (const [name, port] of Object.entries(ports)) {
  for (const method of ["POST", "GET", "HEAD"]) {
    const chunked = await send(port, method, "Transfer-Encoding: chunked", "a\r\n0123456789\r\n0\r\n\r\n");
    const plain = await send(port, method, "Content-Length: 10", "0123456789");
    console.log(`${name}, ${method}: ${chunked} of 10 bytes chunked, ${plain} of 10 with Content-Length`);
    got[`${name} ${method}`] = chunked;
  }
}
end(got["Bun.serve POST"] === "10" && got["Bun.serve GET"] === "0" && got["node:http GET"] === "10");
