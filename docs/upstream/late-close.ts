// Bun's WebSocket client tells of a Close only when the server has ended TCP, and waits for that without limit.
//
// Expected: an event for the Close, or a limit to the wait. The standards let "close" wait for the end of TCP, but RFC 6455
// §7.1.1 lets a client end TCP itself after a reasonable time; the npm package ws does so after 30 s.
// What happens: the Close is answered at once and readyState becomes CLOSING, but no event says so, however long it takes.
// What it costs: a relay cannot pass the Close on while the server leaves TCP open, and takes messages that go nowhere.
import { createHash } from "node:crypto";
import { createServer } from "node:net";

const OPEN_MS = 3_000;
setTimeout(() => end(false), 14_000).unref();

let closedAt = 0;
let hasEnded = false;
const since = () => Math.round(performance.now() - closedAt);
const server = createServer({ allowHalfOpen: true }, (socket) => {
  socket.on("error", () => {});
  socket.once("data", (data) => {
    const key = /sec-websocket-key: *(\S+)/i.exec(data.toString())?.[1] ?? "";
    const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
    socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    socket.write(`Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
    socket.once("data", () => console.log(`the server has the answer to its Close after ${since()} ms`));
    // A Close with code 1000. The end of TCP follows later.
    setTimeout(() => {
      closedAt = performance.now();
      socket.write(Uint8Array.of(0x88, 2, 0x03, 0xe8));
      setTimeout(() => {
        hasEnded = true;
        socket.end();
      }, OPEN_MS);
    }, 100);
  });
});
await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
const address = server.address();
const client = new WebSocket(`ws://127.0.0.1:${typeof address === "object" ? address?.port : 0}/`);

let closingAfterMs = -1;
const look = setInterval(() => {
  if (client.readyState !== WebSocket.CLOSING) return;
  closingAfterMs = since();
  console.log(`readyState is CLOSING after ${closingAfterMs} ms`);
  clearInterval(look);
}, 1);

function end(isReproduced: boolean): never {
  console.log(isReproduced ? "REPRODUCED" : "NOT REPRODUCED");
  process.exit();
}

client.addEventListener("close", ({ code }) => {
  console.log(`event "close" with code ${code} after ${since()} ms; TCP ended after ${OPEN_MS} ms`);
  end(hasEnded);
});
