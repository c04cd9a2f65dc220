import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import type { Socket } from "node:net";

import { eventually } from "../../scripts/lib/eventually.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw } from "../../scripts/lib/stage/raw-client.ts";

let proxy: ProxyHarness;
beforeAll(() => {
  proxy = startProxy();
  proxy.provider.set({ name: "sb" });
});
afterAll(() => proxy[Symbol.asyncDispose]());

describe("large bodies", () => {
  const SIZE = 100 * 1024 * 1024;
  const block = Buffer.alloc(1024 * 1024, "0123456789abcdef");
  const expectedHash = () => {
    const hash = createHash("sha256");
    for (let i = 0; i < SIZE / block.length; i++) hash.update(block);
    return hash.digest("hex");
  };

  test("meterUpload streams 100 MB up, chunked and with a length, and the sandbox gets every byte", async () => {
    using sink = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      maxRequestBodySize: 2 * SIZE,
      async fetch(request) {
        const hash = createHash("sha256");
        const body: ReadableStream<Uint8Array> | null = request.body;
        if (body !== null) for await (const chunk of body) hash.update(chunk);
        return new Response(`${request.headers.get("content-length")} ${hash.digest("hex")}`);
      },
    });
    const upload = async (headers: Record<string, string>) => {
      let sent = 0;
      const body = new ReadableStream<Uint8Array>({
        pull(controller) {
          if (sent >= SIZE) return controller.close();
          sent += block.length;
          controller.enqueue(block);
        },
      });
      const response = await fetch(`http://127.0.0.1:${proxy.port}/`, {
        method: "PUT",
        headers: { "OpenSandbox-Ingress-To": `sb-${sink.port}`, ...headers },
        body,
      });
      return response.text();
    };
    expect(await upload({})).toBe(`null ${expectedHash()}`);
    expect(await upload({ "Content-Length": String(SIZE) })).toBe(`${SIZE} ${expectedHash()}`);
  }, 60_000);

  test("relayStream streams 100 MB to a slow reader and holds only a little of it", async () => {
    let produced = 0;
    using source = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: () =>
        new Response(
          new ReadableStream<Uint8Array>(
            {
              pull(controller) {
                if (produced >= SIZE) return controller.close();
                produced += block.length;
                controller.enqueue(block);
              },
            },
            { highWaterMark: 0 },
          ),
        ),
    });
    const connection = await openRaw(proxy.port);
    connection.socket.pause();
    connection.write(`GET / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${source.port}\r\n\r\n`);
    let last = -1;
    await eventually(async () => {
      // There is no event for "nothing more is read". So the produced bytes must not change between two checks.
      const settled = produced > 0 && produced === last;
      last = produced;
      if (!settled) await new Promise((resolve) => setTimeout(resolve, 300));
      return settled;
    });
    // Socket buffers on three hops and about 10 MB in Bun (measured); without backpressure it would be all of it.
    expect(produced).toBeLessThan(SIZE / 2);
    const hash = createHash("sha256");
    const answer = await fetchRest(connection.socket);
    for (const chunk of answer) hash.update(chunk);
    expect(hash.digest("hex")).toBe(expectedHash());
    expect(produced).toBe(SIZE);
  }, 60_000);
});

/** Reads a chunked answer from a paused socket to its end. Returns the body's pieces. */
async function fetchRest(socket: Socket): Promise<Buffer[]> {
  const pieces: Buffer[] = [];
  let pending = Buffer.alloc(0);
  let headSeen = false;
  let left = 0;
  for await (const data of socket) {
    pending = Buffer.concat([pending, data]);
    if (!headSeen) {
      const end = pending.indexOf("\r\n\r\n");
      if (end < 0) continue;
      headSeen = true;
      pending = pending.subarray(end + 4);
    }
    for (;;) {
      if (left > 2) {
        const take = Math.min(left - 2, pending.length);
        pieces.push(pending.subarray(0, take));
        pending = pending.subarray(take);
        left -= take;
        if (left > 2) break;
      }
      if (left === 2) {
        if (pending.length < 2) break;
        pending = pending.subarray(2);
        left = 0;
      }
      const lineEnd = pending.indexOf("\r\n");
      if (lineEnd < 0) break;
      const size = Number.parseInt(pending.subarray(0, lineEnd).toString(), 16);
      pending = pending.subarray(lineEnd + 2);
      if (size === 0) {
        socket.destroy();
        return pieces;
      }
      left = size + 2;
    }
  }
  throw new Error("the answer was cut");
}

describe("streams", () => {
  test("relayStream passes an event stream on frame by frame, and notices when the client leaves", async () => {
    let push: ((text: string) => void) | undefined;
    let left = false;
    using events = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: (request) => {
        request.signal.addEventListener("abort", () => (left = true));
        const body = new ReadableStream<string>({
          start(controller) {
            push = (text) => controller.enqueue(text);
          },
        });
        return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
      },
    });
    const connection = await openRaw(proxy.port);
    connection.write(`POST /command HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${events.port}\r\n\r\n`);
    await eventually(() => push !== undefined);
    push?.('{"n":1}\n\n');
    for (let n = 2; n < 6; n++) {
      await connection.until((text) => text.includes(`{"n":${n - 1}}\n\n`));
      push?.(`{"n":${n}}\n\n`);
    }
    await connection.until((text) => text.includes('{"n":5}\n\n'));
    expect(left).toBe(false);
    connection.destroy();
    await eventually(() => left);
    await eventually(() => proxy.server.inFlight() === 0);
    expect(proxy.accessLog.at(-1)).toMatchObject({ status: 200, code: "client_closed" });
  });

  test("forwardRequest notices a client that leaves before the answer begins", async () => {
    let left = false;
    using quiet = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: (request) => {
        request.signal.addEventListener("abort", () => (left = true));
        return new Promise<Response>(() => {});
      },
    });
    const connection = await openRaw(proxy.port);
    connection.write(`GET / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${quiet.port}\r\n\r\n`);
    await eventually(() => proxy.server.inFlight() === 1);
    connection.destroy();
    await eventually(() => left);
    await eventually(() => proxy.server.inFlight() === 0);
    expect(proxy.accessLog.at(-1)).toMatchObject({ status: 499, code: "client_closed" });
  });
});
