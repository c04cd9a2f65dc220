import { describe, expect, test } from "bun:test";

import { createAddressSwap } from "../../scripts/lib/stage/address-swap.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw } from "../../scripts/lib/stage/raw-client.ts";
import { startRawUpstream } from "../support/raw-upstream.ts";

/** Swaps of two sandboxes' addresses, and the number of answers between two swaps. */
const SWAPS = 1_000;
const ANSWERS_PER_SWAP = 8;

describe("generations", () => {
  test("UpstreamPool mixes up nothing when two sandboxes swap addresses a thousand times under load", async () => {
    await using proxy = startProxy();
    await using stage = createAddressSwap(proxy);
    let over = false;
    const isOver = (): boolean => over;
    const loads: Promise<void>[] = [];
    for (const sandbox of [0, 1] as const) {
      for (let i = 0; i < 6; i++) loads.push(stage.loadWithRequests(sandbox, isOver));
      for (let i = 0; i < 3; i++) loads.push(stage.loadWithTunnel(sandbox, isOver));
    }
    for (let swaps = 0; swaps < SWAPS; swaps++) {
      const goal = stage.tally.good + ANSWERS_PER_SWAP;
      await eventually(() => stage.tally.good >= goal || stage.tally.wrong.length > 0);
      stage.swap();
    }
    over = true;
    // Idle tunnels see the end at the next swap.
    stage.swap();
    await Promise.all(loads);
    expect(stage.tally.wrong).toEqual([]);
    expect(stage.tally.good).toBeGreaterThanOrEqual(SWAPS * ANSWERS_PER_SWAP);
    // The swaps did meet requests and tunnels in flight.
    expect(stage.tally.ended).toBeGreaterThan(SWAPS);
    await eventually(() => proxy.server.inFlight() === 0);
  }, 120_000);

  test("UpstreamPool closes idle connections of a deleted sandbox, and keeps those of others", async () => {
    await using proxy = startProxy();
    await using sandbox = await startRawUpstream("HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: 2\r\n\r\nok");
    for (const name of ["goes", "stays"]) {
      proxy.provider.set({ name });
      for (const method of ["GET", "POST"]) {
        const answer = await fetch(`http://127.0.0.1:${proxy.port}/`, {
          method,
          headers: { "OpenSandbox-Ingress-To": `${name}-${sandbox.port}` },
        });
        await answer.text();
      }
    }
    expect(sandbox.open.size).toBe(4);
    const ofGoes = [...sandbox.open].slice(0, 2);
    proxy.provider.table.remove("default", "goes");
    // The connection of the POST is being watched. It closes after the watch, which reads the kernel's table twice.
    await eventually(() => !ofGoes.some((socket) => sandbox.open.has(socket)));
    // The watch of the other sandbox's POST may end in the same moment.
    expect(sandbox.open.size).toBeGreaterThan(0);
  }, 60_000);

  test("UpstreamPool ends nothing when only the readiness of a sandbox changes", async () => {
    await using proxy = startProxy();
    proxy.provider.set({ name: "sb" });
    await using sandbox = await startRawUpstream(
      "HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: 2000000\r\n\r\n",
    );
    const connection = await openRaw(proxy.port);
    connection.write(`GET / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${sandbox.port}\r\n\r\n`);
    await connection.until((text) => text.includes("200 OK"));
    proxy.provider.set({ name: "sb", ready: false });
    for (const socket of sandbox.open) socket.write("x".repeat(2_000_000));
    expect((await connection.readAnswer()).body.length).toBe(2_000_000);
    connection.destroy();
  });

  test.each([
    ["Content-Length", "Content-Length: 10000000\r\n\r\nbegin"],
    ["chunked", "Transfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n"],
    ["neither", "\r\nbegin"],
  ])("UpstreamPool visibly cuts an answer that has begun when its sandbox goes (%s)", async (_name, framing) => {
    await using proxy = startProxy();
    proxy.provider.set({ name: "sb" });
    await using sandbox = await startRawUpstream(`HTTP/1.1 200 OK\r\nContent-Type: t/x\r\n${framing}`);
    const connection = await openRaw(proxy.port);
    connection.write(`GET / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${sandbox.port}\r\n\r\n`);
    await connection.until((text) => text.includes("begin"));
    proxy.provider.table.remove("default", "sb");
    const received = await connection.closed();
    // The last chunk is missing, so a client sees that the answer is not whole.
    expect(received).toContain("Transfer-Encoding: chunked\r\n");
    expect(received).not.toContain("\r\n0\r\n");
    await eventually(() => proxy.server.inFlight() === 0 && sandbox.open.size === 0);
    expect(proxy.accessLog.at(-1)).toMatchObject({ status: 200, code: "sandbox_replaced" });
  });

  test("UpstreamPool answers 502 if no answer has begun when its sandbox goes", async () => {
    await using proxy = startProxy();
    proxy.provider.set({ name: "sb" });
    await using sandbox = await startRawUpstream(() => {});
    const connection = await openRaw(proxy.port);
    connection.write(
      `POST / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${sandbox.port}\r\nContent-Length: 2\r\n\r\nhi`,
    );
    await eventually(() => sandbox.requests.length === 1);
    proxy.provider.table.remove("default", "sb");
    const answer = await connection.readAnswer();
    expect([answer.status, answer.body]).toEqual([
      502,
      "OpenSandbox Ingress: sandbox was replaced during the request\n",
    ]);
    await eventually(() => sandbox.open.size === 0);
    connection.destroy();
  });
});
