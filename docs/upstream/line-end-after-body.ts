// Bun.serve answers a line end behind a body with 400, although the handler runs.
//
// Expected: the empty line is ignored (RFC 9112 §2.2: a server SHOULD ignore at least one CRLF before a request line), as
// node:http does, also in Bun.
// What happens: the 400 replaces the answer of a handler that is still at work, and the connection closes.
// What it costs: old and hand-written clients that end a body with CRLF take a POST for refused that was executed, and
// some send it once more.
import { connect } from "node:net";

setTimeout(() => end(false), 14_000).unref();

let handled = 0;
const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  async fetch(request) {
    await request.text();
    handled += 1;
    await Bun.sleep(200);
    return new Response("done");
  },
});

function end(isReproduced: boolean): never {
  console.log(isReproduced ? "REPRODUCED" : "NOT REPRODUCED");
  process.exit();
}

/** Sends a POST with this behind its body; returns the status of the answer. */
function post(behind: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const client = connect(server.port ?? 0, "127.0.0.1", () =>
      client.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}${behind}`),
    );
    client.once("data", (data) => {
      const status = /^HTTP\/1\.1 (\d+)/.exec(data.toString())?.[1];
      console.log(`POST with ${JSON.stringify(behind)} behind its body: status ${status}; handled so far: ${handled}`);
      client.destroy();
      resolve(status);
    });
  });
}

const clean = await post("");
const withLineEnd = await post("\r\n");
end(clean === "200" && withLineEnd === "400" && handled === 2);
