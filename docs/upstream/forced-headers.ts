// fetch cannot send a request without User-Agent and Accept.
//
// Expected: some way to leave them out. Both are optional (RFC 9110 §10.1.5 and §12.5.1), and a proxy must pass on what its
// client sent. node:http adds neither.
// What happens: they are added if they are missing, whatever is tried. An empty value is sent as an empty header.
// What it costs: servers behind a proxy see "Bun/1.x" or an empty value, where their client sent nothing.
import { createServer } from "node:net";

setTimeout(() => end(false), 14_000).unref();

let head = "";
const server = createServer((socket) => {
  socket.on("data", (data) => {
    head = data.toString();
    socket.end("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
  });
});
await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
const address = server.address();
const url = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}/`;

function end(isReproduced: boolean): never {
  console.log(isReproduced ? "REPRODUCED" : "NOT REPRODUCED");
  process.exit();
}

const withoutBoth = new Headers({ accept: "x/y", "user-agent": "z" });
withoutBoth.delete("accept");
withoutBoth.delete("user-agent");
const tries: Record<string, () => Promise<Response>> = {
  "no headers": () => fetch(url),
  "headers deleted": () => fetch(url, { headers: withoutBoth }),
  "empty values": () => fetch(url, { headers: { accept: "", "user-agent": "" } }),
  "a Request": () => fetch(new Request(url, { headers: withoutBoth })),
};
let isAlwaysThere = true;
for (const [name, run] of Object.entries(tries)) {
  await run();
  const arrived = head.split("\r\n").filter((line) => /^(?:accept|user-agent):/i.test(line));
  console.log(`${name}: ${JSON.stringify(arrived)}`);
  isAlwaysThere &&= arrived.length === 2;
}
end(isAlwaysThere);
