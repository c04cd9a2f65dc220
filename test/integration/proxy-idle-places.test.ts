import { describe, expect, test } from "bun:test";

import { systemClock } from "../../src/clock.ts";
import { createTcpTable } from "../../src/host/tcp-table.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw } from "../../scripts/lib/stage/raw-client.ts";
import { startRawUpstream } from "../support/raw-upstream.ts";

// Bun keeps 64 idle connections, and closes the one that was idle for longest when there is one more. If a hundred
// sandboxes were asked in turn, each connection would be closed just before its sandbox is asked again.

const KEEPS = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";
const ANNOUNCES_CLOSE = KEEPS.replace("Content-Type", "Connection: close\r\nContent-Type");
const ROUNDS = 3;
/** For several searches. */
const SEARCHES_MAX_MS = 60_000;

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

  test(
    "sandboxes that close connections without a word lose their places to 60 others",
    async () => {
      const tcp = createTcpTable({ clock: systemClock });
      await using proxy = startProxy({}, { openConnections: (address, port) => tcp.openTo(address, port) });
      await using upstream = await startRawUpstream(KEEPS);
      await using closing = await startRawUpstream((socket) => void socket.end(KEEPS));
      const ports = [
        ...Array.from({ length: 60 }, () => closing.port),
        ...Array.from({ length: 60 }, () => upstream.port),
      ];
      // A sweep of the proxy searches. It may come while a connection is open, so another one may be necessary.
      await eventually(
        async () => {
          const before = upstream.connections;
          await askInTurn(proxy, ports);
          return upstream.connections === before;
        },
        { maxMs: SEARCHES_MAX_MS },
      );
    },
    2 * SEARCHES_MAX_MS,
  );
});
