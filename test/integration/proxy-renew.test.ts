import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";

import type { RenewPublisher, SandboxUse } from "../../src/renew/publisher.ts";
import type { SandboxRecord } from "../../src/sandbox/provider.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { openRawWebSocket, OPCODE } from "../../scripts/lib/stage/raw-websocket.ts";

const offered: SandboxUse[] = [];
const forgotten: SandboxRecord[] = [];
const recorder: RenewPublisher = {
  listens: true,
  offer: (use) => void offered.push(use),
  forget: (record) => void forgotten.push(record),
  start: () => Promise.resolve(),
  stop: () => Promise.resolve(),
};

let push: ((text: string) => void) | undefined;
let sandbox: Bun.Server<undefined>;
let proxy: ProxyHarness;

beforeAll(() => {
  sandbox = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request, server) {
      const { pathname } = new URL(request.url);
      if (pathname === "/ws" && server.upgrade(request)) return undefined;
      if (pathname === "/upload") return new Response(String((await request.bytes()).length));
      if (pathname !== "/events") return new Response("ok");
      const body = new ReadableStream<string>({
        start: (controller) => void (push = (text) => controller.enqueue(text)),
      });
      return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
    },
    websocket: {
      message: (socket, data) => void socket.send(data),
    },
  });
  proxy = startProxy({}, { renew: recorder, accessKeys: "a=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" });
  proxy.provider.set({ name: "sb" });
  proxy.provider.set({ name: "locked", accessToken: "t" });
  proxy.provider.set({ name: "away", ready: false, notReady: "sandbox not ready: away" });
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await sandbox.stop(true);
});

beforeEach(() => {
  offered.length = 0;
});

const head = (method: string, path: string, extra = "", name = "sb"): string =>
  `${method} ${path} HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: ${name}-${sandbox.port}\r\n${extra}\r\n`;

describe("handler", () => {
  test("RequestHandler offers a renew intent for a request: sandbox, port, and the path without its query", async () => {
    await rawRequest(proxy.port, head("GET", "/a/b?secret=1"));
    expect(offered).toHaveLength(1);
    expect(offered[0]).toMatchObject({ port: sandbox.port, path: "/a/b" });
    expect(offered[0]?.record.name).toBe("sb");
  });

  test("handler offers what renews nothing where the client asks for silence, for HTTP and WebSockets", async () => {
    await rawRequest(proxy.port, head("GET", "/", "OpenSandbox-Access-Renew: skip\r\n"));
    const tunnel = await openRawWebSocket(proxy.port, "/ws", {
      extra: `OpenSandbox-Ingress-To: sb-${sandbox.port}\r\nOpenSandbox-Access-Renew: skip\r\n`,
    });
    tunnel.send(OPCODE.text, "x");
    expect((await tunnel.frames.next())?.payload.toString()).toBe("x");
    tunnel.socket.destroy();
    expect(offered.length).toBeGreaterThanOrEqual(3);
    expect(new Set(offered.map(({ renews }) => renews))).toEqual(new Set([false]));
  });

  test.each([
    ["is refused access", "locked", 401],
    ["names no sandbox", "nobody", 404],
    ["finds its sandbox not ready", "away", 503],
  ])("RequestHandler offers no intent for a request that %s", async (_what, name, status) => {
    expect((await rawRequest(proxy.port, head("GET", "/", "", name))).status).toBe(status);
    expect(offered).toEqual([]);
  });

  test("onGenerationEnd makes the publisher forget the sandbox", () => {
    proxy.provider.set({ name: "short" });
    proxy.provider.table.remove("default", "short");
    expect(forgotten.map(({ name }) => name)).toContain("short");
  });
});

describe("activity", () => {
  test("Exchange offers again with each piece of a stream, and not while it is quiet", async () => {
    const connection = await openRaw(proxy.port);
    connection.write(head("GET", "/events"));
    await eventually(() => push !== undefined && offered.length === 1);
    for (let n = 2; n <= 4; n++) {
      push?.(`{"n":${n}}\n\n`);
      await connection.until((text) => text.includes(`{"n":${n}}`));
      expect(offered).toHaveLength(n);
    }
    connection.destroy();
    await eventually(() => proxy.server.inFlight() === 0);
    expect(offered).toHaveLength(4);
  });

  test("Exchange offers again while an upload moves", async () => {
    const connection = await openRaw(proxy.port);
    connection.write(head("POST", "/upload", "Transfer-Encoding: chunked\r\n"));
    await eventually(() => offered.length === 1);
    connection.write("5\r\nhello\r\n");
    await eventually(() => offered.length === 2);
    connection.write("5\r\nworld\r\n0\r\n\r\n");
    expect((await connection.readAnswer()).body).toBe("10");
    await eventually(() => offered.length === 3);
    connection.destroy();
  });

  test("Tunnel offers again for each message in either direction, and never for a ping", async () => {
    const tunnel = await openRawWebSocket(proxy.port, "/ws", {
      extra: `OpenSandbox-Ingress-To: sb-${sandbox.port}\r\n`,
    });
    expect(offered).toHaveLength(1);
    tunnel.send(OPCODE.ping, "p");
    expect((await tunnel.frames.next())?.opcode).toBe(OPCODE.pong);
    expect(offered).toHaveLength(1);
    tunnel.send(OPCODE.text, "x");
    expect((await tunnel.frames.next())?.payload.toString()).toBe("x");
    expect(offered).toHaveLength(3);
    tunnel.socket.destroy();
  });
});
