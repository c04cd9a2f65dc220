import { createHash } from "node:crypto";

import { afterAll, describe, expect, test } from "bun:test";

import { noRenewPublisher, type RenewPublisher } from "../../src/renew/publisher.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { PYTHON_FILL_QUEUE, PYTHON_LISTEN, startPython } from "../support/full-queue.ts";
import { startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw } from "../../scripts/lib/stage/raw-client.ts";
import { startRawUpstream } from "../support/raw-upstream.ts";
import { requirePart } from "../support/requires.ts";

const LENGTH = 2_000_000;
const HALF = "x".repeat(LENGTH / 2);
const listener: RenewPublisher = { ...noRenewPublisher, listens: true };

const proxies = {
  plain: startProxy(),
  "with renew intents": startProxy({}, { renew: listener }),
  "with a time limit": startProxy({ streamIdleTimeoutMs: 60_000 }),
};
const hurried = startProxy({ connectTimeoutMs: 700 });
afterAll(async () => {
  for (const proxy of [...Object.values(proxies), hurried]) await proxy[Symbol.asyncDispose]();
});

const head = (port: number): string =>
  `PUT /file HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${port}\r\nContent-Length: ${LENGTH}\r\n\r\n`;

describe.each(Object.entries(proxies))("an upload of known length, %s", (_name, proxy) => {
  proxy.provider.set({ name: "sb" });

  test("readRequestBody passes it on whole, with its length, and logs that length", async () => {
    await using upstream = await startRawUpstream("HTTP/1.1 204 No Content\r\n\r\n");
    const connection = await openRaw(proxy.port);
    connection.write(head(upstream.port) + HALF);
    await eventually(() => upstream.connections > 0);
    connection.write(HALF);
    expect((await connection.readAnswer()).status).toBe(204);
    const [request] = upstream.requests;
    expect(request?.headerLines.map((line) => line.toLowerCase())).toContain(`content-length: ${LENGTH}`);
    const hash = (text: string): string => createHash("sha256").update(text).digest("hex");
    expect(hash(request?.body ?? "")).toBe(hash(HALF + HALF));
    expect(proxy.accessLog.at(-1)).toMatchObject({ status: 204, bytesIn: LENGTH });
    connection.destroy();
  });

  test("readRequestBody ends it at the sandbox when the client leaves, visibly not whole", async () => {
    await using upstream = await startRawUpstream("HTTP/1.1 204 No Content\r\n\r\n");
    const connection = await openRaw(proxy.port);
    connection.write(head(upstream.port) + HALF);
    await eventually(() => upstream.open.size > 0);
    connection.destroy();
    await eventually(() => upstream.open.size === 0 && proxy.server.inFlight() === 0);
    expect(upstream.requests).toEqual([]);
    expect(proxy.accessLog.at(-1)).toMatchObject({ status: 499, code: "client_closed" });
    expect(proxy.accessLog.at(-1)?.bytesIn).not.toBe(LENGTH);
  });

  test("readRequestBody passes on an answer that comes before the upload ends", async () => {
    const answer = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nContent-Type: text/plain\r\n\r\nbig";
    await using upstream = await startRawUpstream(answer, { early: true });
    const connection = await openRaw(proxy.port);
    connection.write(head(upstream.port) + HALF);
    const early = await connection.readAnswer();
    expect([early.status, early.body]).toEqual([413, "big"]);
    connection.destroy();
    await eventually(() => proxy.server.inFlight() === 0);
  });

  test("readRequestBody answers 502 when the sandbox goes during it", async () => {
    await using upstream = await startRawUpstream((socket) => socket.destroy(), { early: true });
    const connection = await openRaw(proxy.port);
    connection.write(head(upstream.port) + HALF);
    expect((await connection.readAnswer()).status).toBe(502);
    expect(proxy.accessLog.at(-1)).toMatchObject({ status: 502, code: "upstream_reset" });
    connection.destroy();
  });

  test("Upstream.end cuts it when its sandbox is replaced", async () => {
    await using upstream = await startRawUpstream("HTTP/1.1 204 No Content\r\n\r\n");
    proxy.provider.set({ name: "gone" });
    const connection = await openRaw(proxy.port);
    connection.write(head(upstream.port).replace("sb-", "gone-") + HALF);
    await eventually(() => upstream.open.size > 0);
    proxy.provider.table.remove("default", "gone");
    expect((await connection.readAnswer()).status).toBe(502);
    expect(proxy.accessLog.at(-1)).toMatchObject({ status: 502, code: "sandbox_replaced" });
    await eventually(() => upstream.open.size === 0 && proxy.server.inFlight() === 0);
    connection.destroy();
  });
});

describe("an upload that is short enough to be collected", () => {
  const proxy = proxies.plain;
  const send = async (upstreamPort: number, body: Buffer, pieceBytes: number) => {
    const connection = await openRaw(proxy.port);
    connection.write(
      `PUT / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${upstreamPort}\r\nContent-Length: ${body.length}\r\n\r\n`,
    );
    for (let at = 0; at < body.length; at += pieceBytes) {
      connection.write(body.subarray(at, at + pieceBytes));
      await new Promise((resolve) => setImmediate(resolve));
    }
    return connection;
  };

  // Both limits, from both sides.
  test.each([16_384, 16_385, 65_535, 65_536, 65_537])("arrives whole and in order (%d bytes)", async (length) => {
    await using upstream = await startRawUpstream("HTTP/1.1 204 No Content\r\n\r\n");
    const body = Buffer.from(Array.from({ length }, (_, index) => 33 + ((index * 7) % 89)));
    for (const pieceBytes of [length, 10_000, 1_000]) {
      const connection = await send(upstream.port, body, pieceBytes);
      expect((await connection.readAnswer()).status).toBe(204);
      expect(upstream.requests.at(-1)?.body === body.toString("latin1")).toBe(true);
      expect(proxy.accessLog.at(-1)).toMatchObject({ status: 204, bytesIn: length });
      connection.destroy();
    }
  });

  test("does not reach the sandbox if its client leaves before the last byte", async () => {
    await using upstream = await startRawUpstream("HTTP/1.1 204 No Content\r\n\r\n");
    const body = Buffer.alloc(60_000, "x");
    const connection = await openRaw(proxy.port);
    connection.write(
      `POST / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${upstream.port}\r\nContent-Length: ${body.length}\r\n\r\n`,
    );
    connection.write(body.subarray(1));
    await eventually(() => proxy.server.inFlight() === 1);
    connection.destroy();
    await eventually(() => proxy.server.inFlight() === 0);
    expect(upstream.connections).toBe(0);
    expect(proxy.accessLog.at(-1)).toMatchObject({ status: 499, code: "client_closed" });
    expect(proxy.server.counters().heldBytes).toBe(0);
  });

  test("shares a connection to its sandbox with the next one", async () => {
    await using upstream = await startRawUpstream("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    const body = Buffer.alloc(60_000, "x");
    for (let turn = 0; turn < 20; turn++) {
      const connection = await send(upstream.port, body, body.length);
      expect((await connection.readAnswer()).status).toBe(200);
      connection.destroy();
    }
    expect(upstream.requests).toHaveLength(20);
    expect(upstream.connections).toBe(1);
  });
});

const hasPython = requirePart("python3", { get: "apt-get install python3" });

describe("an upload and the connect timeout", () => {
  hurried.provider.set({ name: "sb" });

  test.skipIf(!hasPython)("Watchdog lets it go on although the sandbox takes no second connection", async () => {
    await using busy = await startBusySandbox();
    const connection = await openRaw(hurried.port);
    connection.write(head(busy.port) + HALF);
    expect(await busy.says()).toBe("busy");
    connection.write(HALF);
    expect((await connection.readAnswer()).status).toBe(204);
    connection.destroy();
  });

  test.skipIf(!hasPython)("Watchdog ends it with 502 if the sandbox cannot be reached, and sends no byte", async () => {
    await using full = startPython(`${PYTHON_LISTEN}${PYTHON_FILL_QUEUE}print(port, flush=True); time.sleep(60)`);
    const connection = await openRaw(hurried.port);
    connection.write(head(Number(await full.says())) + HALF);
    expect((await connection.readAnswer()).status).toBe(502);
    expect(hurried.accessLog.at(-1)).toMatchObject({ code: "upstream_unreachable" });
    connection.destroy();
  });
});

/** A sandbox that takes one upload and, from its beginning on, no other connection. Then it says so. */
async function startBusySandbox() {
  const script = startPython(`${PYTHON_LISTEN}
print(port, flush=True)
got = b""
while not got:
    c, _ = s.accept(); got = c.recv(65536)
${PYTHON_FILL_QUEUE}
print("busy", flush=True)
end = got.index(b"\\r\\n\\r\\n") + 4
left = ${LENGTH} - (len(got) - end)
while left > 0:
    piece = c.recv(65536)
    if not piece: break
    left -= len(piece)
c.sendall(b"HTTP/1.1 204 No Content\\r\\n\\r\\n")
c.recv(1)
`);
  return { ...script, port: Number(await script.says()) };
}
