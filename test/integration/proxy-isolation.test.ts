import { afterEach, beforeEach, describe, expect, test } from "bun:test";

import { eventually } from "../support/eventually.ts";
import { type ProxyHarness, startProxy } from "../support/proxy-harness.ts";
import { openRaw, rawRequest } from "../support/raw-client.ts";
import { openRawWebSocket, OPCODE, parseClose } from "../support/raw-websocket.ts";

/** Addresses of two sandboxes, both of which answer with their own address, on one port. */
const ADDRESSES = ["127.0.0.2", "127.0.0.3"] as const;
type Address = (typeof ADDRESSES)[number];

let port = 0;
let sandboxes: Bun.Server<undefined>[] = [];
let proxy: ProxyHarness;

function startSandbox(address: string, listenPort: number): Bun.Server<undefined> {
  return Bun.serve({
    hostname: address,
    port: listenPort,
    idleTimeout: 60,
    async fetch(request, server) {
      const { pathname } = new URL(request.url);
      if (pathname === "/ws") return server.upgrade(request) ? undefined : new Response("no", { status: 400 });
      if (pathname === "/hang") return new Promise<Response>(() => {});
      if (pathname === "/stream") {
        const body = new ReadableStream<string>({ start: (controller) => controller.enqueue(`${address}\n`) });
        return new Response(body);
      }
      await request.bytes();
      return new Response(address);
    },
    websocket: { open: (socket) => void socket.send(address), message() {} },
  });
}

beforeEach(() => {
  const first = startSandbox(ADDRESSES[0], 0);
  port = first.port ?? 0;
  sandboxes = [first, startSandbox(ADDRESSES[1], port)];
  proxy = startProxy();
});

afterEach(async () => {
  await proxy[Symbol.asyncDispose]();
  for (const sandbox of sandboxes) await sandbox.stop(true);
});

const head = (method: string, path: string, name: string, extra = ""): string =>
  `${method} ${path} HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: ${name}-${port}\r\n${extra}\r\n`;

describe("generations", () => {
  test("Upstream: while two sandboxes swap addresses a thousand times under load, no answer crosses", async () => {
    const SWAPS = 1000;
    const holders: Record<"a" | "b", Address> = { a: ADDRESSES[0], b: ADDRESSES[1] };
    const publish = (): void => {
      for (const name of ["a", "b"] as const) proxy.provider.set({ name, endpoint: holders[name] });
    };
    publish();
    let swaps = 0;
    const isOver = (): boolean => swaps >= SWAPS;
    let answered = 0;
    let cut = 0;
    const crossed: string[] = [];

    /** One client on a connection of its own; each answer is compared with who held the address at the time. */
    const client = async (name: "a" | "b", method: "GET" | "POST"): Promise<void> => {
      const body = method === "POST" ? "Content-Length: 2\r\n" : "";
      let connection = await openRaw(proxy.port);
      while (!isOver()) {
        const sentAt = swaps;
        const held = holders[name];
        connection.write(`${head(method, "/", name, body)}${method === "POST" ? "ok" : ""}`);
        const answer = await connection.readAnswer().catch(() => undefined);
        if (answer?.status === 200) {
          answered++;
          // The request is taken up after it is sent: only if no swap came between is it known who had to answer.
          if (swaps === sentAt && answer.body !== held) crossed.push(`${name} got ${answer.body} instead of ${held}`);
        } else {
          cut++;
          expect([undefined, 502]).toContain(answer?.status);
          connection.destroy();
          connection = await openRaw(proxy.port);
        }
      }
      connection.destroy();
    };
    const clients = (["a", "b"] as const).flatMap((name) => [client(name, "GET"), client(name, "POST")]);
    while (swaps < SWAPS) {
      holders.a = holders.a === ADDRESSES[0] ? ADDRESSES[1] : ADDRESSES[0];
      holders.b = holders.a === ADDRESSES[0] ? ADDRESSES[1] : ADDRESSES[0];
      swaps++;
      publish();
      const seen = answered;
      // Between two swaps requests are answered, over connections that were opened for this generation.
      if (swaps % 2 === 0 && swaps < SWAPS) await eventually(() => answered > seen);
      else await Bun.sleep(0);
    }
    await Promise.all(clients);
    expect(crossed).toEqual([]);
    expect(answered).toBeGreaterThan(SWAPS / 2);
  }, 120_000);

  test("Upstream: an idle connection to an old address is never used for its next tenant", async () => {
    proxy.provider.set({ name: "a", endpoint: ADDRESSES[0] });
    for (let i = 0; i < 3; i++) expect((await rawRequest(proxy.port, head("GET", "/", "a"))).body).toBe(ADDRESSES[0]);
    // The address passes to another sandbox: same address, another uid.
    proxy.provider.table.remove("default", "a");
    proxy.provider.set({ name: "b", endpoint: ADDRESSES[0] });
    proxy.provider.set({ name: "a", uid: "uid-a-again", endpoint: ADDRESSES[1] });
    expect((await rawRequest(proxy.port, head("GET", "/", "a"))).body).toBe(ADDRESSES[1]);
    expect((await rawRequest(proxy.port, head("GET", "/", "b"))).body).toBe(ADDRESSES[0]);
  });

  test("endGeneration ends a request that has no answer yet with 502, and closes its connection", async () => {
    proxy.provider.set({ name: "a", endpoint: ADDRESSES[0] });
    const waiting = rawRequest(proxy.port, head("GET", "/hang", "a"));
    await eventually(() => proxy.server.inFlight() === 1 && (sandboxes[0]?.pendingRequests ?? 0) === 1);
    proxy.provider.table.remove("default", "a");
    expect((await waiting).status).toBe(502);
    expect(proxy.accessLog.at(-1)).toMatchObject({ status: 502, code: "sandbox_replaced" });
    await eventually(() => proxy.server.inFlight() === 0);
  });

  test("endGeneration cuts an answer that has begun, visibly", async () => {
    proxy.provider.set({ name: "a", endpoint: ADDRESSES[0] });
    const connection = await openRaw(proxy.port);
    connection.write(head("GET", "/stream", "a"));
    await connection.until((text) => text.includes(`${ADDRESSES[0]}\n`));
    proxy.provider.set({ name: "a", endpoint: ADDRESSES[1] });
    const received = await connection.closed();
    expect(received).not.toContain("\r\n0\r\n\r\n");
    await eventually(() => proxy.server.inFlight() === 0);
    expect(proxy.accessLog.at(-1)).toMatchObject({ status: 200, code: "sandbox_replaced" });
  });

  test("endGeneration closes a tunnel with 1001; a change of readiness alone ends nothing", async () => {
    proxy.provider.set({ name: "a", endpoint: ADDRESSES[0] });
    const tunnel = await openRawWebSocket(proxy.port, "/ws", { extra: `OpenSandbox-Ingress-To: a-${port}\r\n` });
    expect((await tunnel.frames.next())?.payload.toString()).toBe(ADDRESSES[0]);
    proxy.provider.set({ name: "a", endpoint: ADDRESSES[0], ready: false, notReady: "sandbox not ready: pausing" });
    expect((await rawRequest(proxy.port, head("GET", "/", "a"))).status).toBe(503);
    tunnel.send(OPCODE.ping, "still here");
    expect((await tunnel.frames.next())?.opcode).toBe(OPCODE.pong);
    proxy.provider.set({ name: "a", endpoint: ADDRESSES[1] });
    expect(parseClose((await tunnel.frames.next())?.payload ?? Buffer.alloc(0))?.code).toBe(1001);
    tunnel.socket.destroy();
  });
});

describe("others", () => {
  test("a sandbox that is killed, and a client that is, leave everybody else alone", async () => {
    proxy.provider.set({ name: "a", endpoint: ADDRESSES[0] });
    proxy.provider.set({ name: "b", endpoint: ADDRESSES[1] });
    const tunnel = await openRawWebSocket(proxy.port, "/ws", { extra: `OpenSandbox-Ingress-To: b-${port}\r\n` });
    await tunnel.frames.next();
    const leaving = await openRaw(proxy.port);
    leaving.write(head("GET", "/hang", "b"));
    await eventually(() => proxy.server.inFlight() === 2);
    leaving.destroy();
    await sandboxes[0]?.stop(true);
    expect((await rawRequest(proxy.port, head("GET", "/", "a"))).status).toBe(503);
    expect((await rawRequest(proxy.port, head("GET", "/", "b"))).body).toBe(ADDRESSES[1]);
    tunnel.send(OPCODE.ping, "x");
    expect((await tunnel.frames.next())?.opcode).toBe(OPCODE.pong);
    tunnel.socket.destroy();
  });
});
