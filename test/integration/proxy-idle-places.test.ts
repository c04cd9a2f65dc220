import { describe, expect, test } from "bun:test";

import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw } from "../../scripts/lib/stage/raw-client.ts";
import { startRawUpstream } from "../support/raw-upstream.ts";

// Bun keeps 64 idle connections, and closes the one that was idle for longest when there is one more. If a hundred
// sandboxes were asked in turn, each connection would be closed just before its sandbox is asked again.

const KEEPS = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";
const ANNOUNCES_CLOSE = KEEPS.replace("Content-Type", "Connection: close\r\nContent-Type");
const ROUNDS = 3;

/** Asks sandboxes on these ports in turn over one connection, several times. */
async function askInTurn(proxy: ProxyHarness, ports: readonly number[]): Promise<void> {
  const client = await openRaw(proxy.port);
  for (const index of ports.keys()) proxy.provider.set({ name: `sb${index}` });
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, port] of ports.entries()) {
      client.write(`GET / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb${index}-${port}\r\n\r\n`);
      expect((await client.readAnswer()).status).toBe(200);
    }
  }
  client.destroy();
}

describe("IdlePlaces, with the connections that Bun really keeps", () => {
  test("of 100 sandboxes in turn, more than half have a connection when they are asked again", async () => {
    await using proxy = startProxy();
    await using upstream = await startRawUpstream(KEEPS);
    await askInTurn(
      proxy,
      Array.from({ length: 100 }, () => upstream.port),
    );
    // All open one in the first round. Later those without a place do: 36, and some whose place was lost meanwhile.
    expect(upstream.connections).toBeLessThan(100 + (ROUNDS - 1) * 50);
  });

  test("sandboxes that announce that they close connections take no place from 60 others", async () => {
    await using proxy = startProxy();
    await using upstream = await startRawUpstream(KEEPS);
    await using closing = await startRawUpstream((socket) => void socket.end(ANNOUNCES_CLOSE));
    await askInTurn(proxy, [
      ...Array.from({ length: 60 }, () => closing.port),
      ...Array.from({ length: 60 }, () => upstream.port),
    ]);
    expect(closing.connections).toBe(ROUNDS * 60);
    expect(upstream.connections).toBe(60);
  });
});
