// Bun.serve answers each ping of a WebSocket client by itself, and cannot leave that to the handler.
//
// Expected: a setting as the WebSocket client has (autoPong: false). A relay must let the far end answer: a pong says
// that the one asked is alive (RFC 6455 §5.5.2 and §5.5.3).
// What happens: Bun sends the pong, with any setting, and the handler "ping" only looks on. A relayed pong would be a second.
// What it costs: a client's heartbeat through a proxy tells only that the proxy lives, not the server behind it.
import { connect } from "node:net";

setTimeout(() => end(false), 14_000).unref();

const HEAD = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";

/** Sends a ping to a server whose handler does not answer it; returns how many pongs came. */
async function countPongs(options: Record<string, boolean>): Promise<number> {
  let pings = 0;
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request, self) => (self.upgrade(request) ? undefined : new Response("ok")),
    websocket: { ...options, message() {}, ping: () => void (pings += 1) },
  });
  let pongs = 0;
  const pong = Promise.withResolvers<void>();
  const client = connect(server.port ?? 0, "127.0.0.1", () =>
    client.write(`${HEAD}Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`),
  );
  client.once("data", () => {
    client.write(Uint8Array.of(0x89, 0x80, 0, 0, 0, 0));
    client.on("data", (data) => {
      if (data[0] === 0x8a) pongs += 1;
      pong.resolve();
    });
  });
  await Promise.race([pong.promise, Bun.sleep(3_000)]);
  // There is time for a second one.
  await Bun.sleep(100);
  client.destroy();
  await server.stop(true);
  console.log(`${JSON.stringify(options)}: handler "ping" called ${pings} times, answering nothing; pongs: ${pongs}`);
  return pongs;
}

function end(isReproduced: boolean): never {
  console.log(isReproduced ? "REPRODUCED" : "NOT REPRODUCED");
  process.exit();
}

const byDefault = await countPongs({});
const withoutPings = await countPongs({ sendPings: false });
// What the client's setting is called.
const asInClient = await countPongs({ autoPong: false });
end(byDefault === 1 && withoutPings === 1 && asInClient === 1);
