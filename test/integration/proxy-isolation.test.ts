import { afterEach, beforeEach, describe, expect, test } from "bun:test";

import { eventually } from "../../scripts/lib/eventually.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { openRawWebSocket, OPCODE, parseClose } from "../../scripts/lib/stage/raw-websocket.ts";
import { parseAddressSet } from "../../src/address.ts";

/** Addresses of two sandboxes, both of which answer with their own address, on one port. */
const ADDRESSES = ["127.0.0.2", "127.0.0.3"] as const;

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
  test("Upstream never uses an idle connection to an old address for the next tenant", async () => {
    proxy.provider.set({ name: "a", endpoint: ADDRESSES[0] });
    for (let i = 0; i < 3; i++) expect((await rawRequest(proxy.port, head("GET", "/", "a"))).body).toBe(ADDRESSES[0]);
    // The address passes to another sandbox: the same address with another uid.
    proxy.provider.table.remove("default", "a");
    proxy.provider.set({ name: "b", endpoint: ADDRESSES[0] });
    proxy.provider.set({ name: "a", uid: "uid-a-again", endpoint: ADDRESSES[1] });
    expect((await rawRequest(proxy.port, head("GET", "/", "a"))).body).toBe(ADDRESSES[1]);
    expect((await rawRequest(proxy.port, head("GET", "/", "b"))).body).toBe(ADDRESSES[0]);
  });

  test("UpstreamPool.endGeneration closes a tunnel with 1001; a change of readiness alone ends nothing", async () => {
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
  test("a killed sandbox and a killed client do not disturb others", async () => {
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

  test("a peer that is believed uses up nothing of a client whom it names, but of itself", async () => {
    const trustedProxies = parseAddressSet("private");
    await using believing = startProxy({ host: "::", maxRequests: 10, trustedProxies });
    const from = "X-Forwarded-For: 203.0.113.9\r\n";
    const held = [];
    for (let at = 0; at < 6; at++) {
      believing.provider.set({ name: `s${at}`, endpoint: ADDRESSES[0] });
      const connection = await openRaw(believing.port, "127.0.0.1");
      connection.write(head("GET", "/hang", `s${at}`, from));
      held.push(connection);
    }
    await eventually(() => believing.server.inFlight() === 6);
    believing.provider.set({ name: "b", endpoint: ADDRESSES[1] });
    const ask = (host: string) => rawRequest(believing.port, head("GET", "/", "b", from), { host });
    expect((await ask("127.0.0.1")).status).toBe(503);
    expect((await ask("::1")).body).toBe(ADDRESSES[1]);
    for (const connection of held) connection.destroy();
  });
});
