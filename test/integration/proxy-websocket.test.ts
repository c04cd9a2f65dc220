import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createServer, type Server, type Socket } from "node:net";

import { eventually } from "../../scripts/lib/eventually.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import {
  acceptKey,
  buildFrame,
  closePayload,
  type FrameReader,
  openRawWebSocket,
  OPCODE,
  parseClose,
  type RawFrame,
  readFrames,
} from "../../scripts/lib/stage/raw-websocket.ts";

/** The sandbox's end of one tunnel. */
interface SandboxEnd {
  readonly head: string;
  readonly socket: Socket;
  readonly frames: FrameReader;
}

let sandbox: Server;
let sandboxPort: number;
let proxy: ProxyHarness;
const ends: SandboxEnd[] = [];

beforeAll(async () => {
  sandbox = createServer((socket) => {
    socket.on("error", () => {});
    let head = "";
    socket.on("data", function onHead(data: Buffer) {
      head += data.toString("latin1");
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return;
      socket.off("data", onHead);
      answerHandshake(socket, head.slice(0, end), Buffer.from(head.slice(end + 4), "latin1"));
    });
  });
  await new Promise<void>((resolve) => sandbox.listen(0, "127.0.0.1", resolve));
  const address = sandbox.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  sandboxPort = address.port;
  proxy = startProxy({ websocketMaxMessageBytes: 2 * 1024 * 1024 });
  proxy.provider.set({ name: "sb" });
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  sandbox.close();
});

/** Answers by path: a refusal, or a handshake and the frames that the path asks for right after it. */
function answerHandshake(socket: Socket, head: string, rest: Buffer): void {
  if (head.includes(" /refuse ")) {
    const body = '{"error":"gone"}';
    socket.write(
      `HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\nX-Why: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    return;
  }
  if (head.includes(" /garbage ")) return void socket.end("SSH-2.0-OpenSSH\r\n");
  if (head.includes(" /hangup ")) return void socket.destroy();
  const key = /sec-websocket-key: (\S+)/i.exec(head)?.[1] ?? "";
  const accept = head.includes(" /wrong-accept ") ? "AAAAAAAAAAAAAAAAAAAAAAAAAAA=" : acceptKey(key);
  const chosen = / \/protocol\?(\S*) /.exec(head)?.[1];
  const protocol = chosen === undefined ? "" : `Sec-WebSocket-Protocol: ${decodeURIComponent(chosen)}\r\n`;
  const handshake = `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n${protocol}Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n`;
  const early = head.includes(" /early ")
    ? Buffer.concat([
        buildFrame(OPCODE.text, "first"),
        buildFrame(OPCODE.binary, "second"),
        buildFrame(OPCODE.ping, "third"),
        buildFrame(OPCODE.close, closePayload(4001, "fourth")),
      ])
    : Buffer.alloc(0);
  socket.write(Buffer.concat([Buffer.from(handshake), early]));
  ends.push({ head, socket, frames: readFrames(socket, rest) });
}

/** Opens a tunnel and returns both ends. */
async function openTunnel(path = "/x", extra = "") {
  const before = ends.length;
  const client = await openRawWebSocket(proxy.port, path, {
    extra: `OpenSandbox-Ingress-To: sb-${sandboxPort}\r\n${extra}`,
  });
  expect(client.status).toBe(101);
  const end = await eventually(() => ends[before] ?? false);
  if (end === false) throw new Error("unreachable");
  return { client, end };
}

const text = (frame: RawFrame | undefined) => [frame?.opcode, frame?.payload.toString()];

describe("handshake", () => {
  test("openTunnel forwards end-to-end headers, and passes on the sub-protocol and every cookie", async () => {
    const { client, end } = await openTunnel(
      "/protocol?second",
      "Sec-WebSocket-Protocol: first, second\r\nSec-WebSocket-Extensions: permessage-deflate\r\nOrigin: http://o.test\r\nCookie: c=1\r\nX-EXECD-ACCESS-TOKEN: t\r\nOpenSandbox-Secure-Access: secret\r\n",
    );
    const sent = end.head.toLowerCase();
    expect(sent).toContain(`host: 127.0.0.1:${sandboxPort}\r\n`);
    expect(sent).toContain("origin: http://o.test");
    expect(sent).toContain("cookie: c=1");
    expect(sent).toContain("x-execd-access-token: t");
    expect(sent).toMatch(/sec-websocket-protocol: first, ?second/);
    expect(sent).toContain("x-forwarded-host: h.test");
    expect(sent).not.toContain("extensions");
    expect(sent).not.toContain("opensandbox-secure");
    expect(client.head).toContain("Sec-WebSocket-Protocol: second\r\n");
    expect(client.head.match(/set-cookie: [ab]=[12]/gi)).toHaveLength(2);
    expect(client.head.match(/upgrade: websocket/gi)).toHaveLength(1);
    client.socket.destroy();
  });

  test.each([
    ["none of those offered", "/echo", "a, b", undefined],
    ["one of those offered", "/protocol?b", "a, b", "b"],
    ["one that was not offered", "/protocol?zzz", "a", "zzz"],
    ["one in another case", "/protocol?A", "a", "A"],
    ["one where none was offered", "/protocol?zzz", undefined, "zzz"],
    ["none where none was offered", "/echo", undefined, undefined],
  ])("openTunnel relays a sandbox's choice of %s as it is", async (_name, path, offered, chosen) => {
    const offer = offered === undefined ? "" : `Sec-WebSocket-Protocol: ${offered}\r\n`;
    const { client, end } = await openTunnel(path, offer);
    try {
      expect(client.status).toBe(101);
      expect(/sec-websocket-protocol: (.*)\r/i.exec(end.head)?.[1]).toBe(offered);
      expect(/sec-websocket-protocol: (.*)\r/i.exec(client.head)?.[1]).toBe(chosen);
      client.send(OPCODE.text, "up");
      expect(text(await end.frames.next())).toEqual([OPCODE.text, "up"]);
    } finally {
      client.socket.destroy();
    }
  });

  test("openTunnel relays a refusal whole", async () => {
    const answer = await rawRequest(
      proxy.port,
      `GET /refuse HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${sandboxPort}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`,
    );
    expect([answer.status, answer.body]).toEqual([409, '{"error":"gone"}']);
    expect(answer.headers).toContainEqual(["x-why", "1"]);
    expect(answer.headers.filter(([name]) => name === "set-cookie")).toHaveLength(2);
    expect(answer.headers).toContainEqual(["reverse-proxy-server-powerby", "OpenSandbox-ingress"]);
    await eventually(() => proxy.server.inFlight() === 0);
  });

  test.each([
    ["/garbage", 502],
    ["/hangup", 502],
    ["/wrong-accept", 502],
  ])("openTunnel answers a sandbox that does %s with %d, before the client is upgraded", async (path, status) => {
    const client = await openRawWebSocket(proxy.port, path, { extra: `OpenSandbox-Ingress-To: sb-${sandboxPort}\r\n` });
    expect(client.status).toBe(status);
    client.socket.destroy();
  });

  test("openTunnel answers 503 if nothing listens", async () => {
    const client = await openRawWebSocket(proxy.port, "/x", { extra: "OpenSandbox-Ingress-To: sb-1\r\n" });
    expect(client.status).toBe(503);
    client.socket.destroy();
  });

  test.each([
    ["no key", "Sec-WebSocket-Version: 13\r\n", 400],
    ["a short key", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n", 400],
    ["version 8", "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", 426],
    [
      "an empty sub-protocol",
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: a,,b\r\n",
      400,
    ],
    [
      "a sub-protocol twice",
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: a, b, a\r\n",
      400,
    ],
  ])("checkHandshake refuses %s", async (_name, lines, status) => {
    const answer = await rawRequest(
      proxy.port,
      `GET /x HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${sandboxPort}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${lines}\r\n`,
    );
    expect(answer.status).toBe(status);
    if (status === 426) expect(answer.headers).toContainEqual(["sec-websocket-version", "13"]);
  });
});

describe("frames", () => {
  test("Tunnel relays text as text and binary as binary, even empty messages, in both directions", async () => {
    const { client, end } = await openTunnel();
    const messages: readonly (readonly [number, string])[] = [
      [OPCODE.text, "häß"],
      [OPCODE.binary, "\u0000\u0001"],
      [OPCODE.text, ""],
      [OPCODE.binary, ""],
    ];
    for (const [opcode, payload] of messages) {
      client.send(opcode, payload);
      expect(text(await end.frames.next())).toEqual([opcode, payload]);
      end.socket.write(buildFrame(opcode, payload));
      expect(text(await client.frames.next())).toEqual([opcode, payload]);
    }
    client.socket.destroy();
  });

  test("Tunnel relays a message of 1 MB in both directions", async () => {
    const { client, end } = await openTunnel();
    const big = Buffer.alloc(1024 * 1024, "0123456789");
    client.send(OPCODE.binary, big);
    expect((await end.frames.next())?.payload.equals(big)).toBe(true);
    end.socket.write(buildFrame(OPCODE.binary, big));
    expect((await client.frames.next())?.payload.equals(big)).toBe(true);
    client.socket.destroy();
  });

  test("Tunnel keeps frames that follow either handshake at once, in order", async () => {
    const client = await openRawWebSocket(proxy.port, "/early", {
      extra: `OpenSandbox-Ingress-To: sb-${sandboxPort}\r\n`,
    });
    expect(text(await client.frames.next())).toEqual([OPCODE.text, "first"]);
    expect(text(await client.frames.next())).toEqual([OPCODE.binary, "second"]);
    expect(text(await client.frames.next())).toEqual([OPCODE.ping, "third"]);
    const close = await client.frames.next();
    expect(parseClose(close?.payload ?? Buffer.alloc(0))).toEqual({ code: 4001, reason: "fourth" });
    client.socket.destroy();
  });

  test("openTunnel refuses a client that sends frames before it has an answer (RFC 6455 §4.1), visibly", async () => {
    const hasty = await openRawWebSocket(proxy.port, "/x", {
      extra: `OpenSandbox-Ingress-To: sb-${sandboxPort}\r\n`,
      behind: buildFrame(OPCODE.text, "hasty", { masked: true }),
    });
    expect(hasty.status).toBe(400);
    hasty.socket.destroy();
    await eventually(() => proxy.server.inFlight() === 0);
  });

  test("Tunnel relays pings and pongs: the client sees exactly one pong for each of its pings", async () => {
    const { client, end } = await openTunnel();
    client.send(OPCODE.ping, "p1");
    expect(text(await end.frames.next())).toEqual([OPCODE.ping, "p1"]);
    end.socket.write(buildFrame(OPCODE.pong, "p1"));
    end.socket.write(buildFrame(OPCODE.ping, "p2"));
    expect(text(await client.frames.next())).toEqual([OPCODE.pong, "p1"]);
    expect(text(await client.frames.next())).toEqual([OPCODE.ping, "p2"]);
    client.send(OPCODE.pong, "p2");
    expect(text(await end.frames.next())).toEqual([OPCODE.pong, "p2"]);
    client.socket.destroy();
  });
});

describe("closing", () => {
  test.each([1000, 1001, 1003, 1008, 1011, 1013, 3000, 4001, 4999])(
    "Tunnel relays close code %d with its reason, from either side",
    async (code) => {
      const fromClient = await openTunnel();
      fromClient.client.send(OPCODE.close, closePayload(code, "why"));
      const seen = await fromClient.end.frames.next();
      expect(seen?.opcode).toBe(OPCODE.close);
      expect(parseClose(seen?.payload ?? Buffer.alloc(0))).toEqual({ code, reason: "why" });
      fromClient.end.socket.end(buildFrame(OPCODE.close, closePayload(code)));

      const fromSandbox = await openTunnel();
      fromSandbox.end.socket.write(buildFrame(OPCODE.close, closePayload(code, "because")));
      const told = await fromSandbox.client.frames.next();
      expect(told?.opcode).toBe(OPCODE.close);
      expect(parseClose(told?.payload ?? Buffer.alloc(0))).toEqual({ code, reason: "because" });
      fromSandbox.client.socket.destroy();
      await eventually(() => proxy.server.inFlight() === 0);
      expect(proxy.accessLog.at(-1)).toMatchObject({ status: 101, tunnel: true, closeCode: code });
    },
  );

  test("Tunnel relays a Close without a code as one without a code", async () => {
    const fromClient = await openTunnel();
    fromClient.client.send(OPCODE.close, "");
    const seen = await fromClient.end.frames.next();
    expect([seen?.opcode, seen?.payload.length]).toEqual([OPCODE.close, 0]);
    const fromSandbox = await openTunnel();
    fromSandbox.end.socket.write(buildFrame(OPCODE.close, ""));
    const told = await fromSandbox.client.frames.next();
    expect([told?.opcode, told?.payload.length]).toEqual([OPCODE.close, 0]);
    fromSandbox.client.socket.destroy();
  });

  test("Tunnel relays an abrupt end as an abrupt end, from either side", async () => {
    const fromClient = await openTunnel();
    fromClient.client.socket.destroy();
    expect(await fromClient.end.frames.next()).toBeUndefined();
    const fromSandbox = await openTunnel();
    fromSandbox.end.socket.destroy();
    expect(await fromSandbox.client.frames.next()).toBeUndefined();
    await eventually(() => proxy.server.inFlight() === 0);
  });

  test("Tunnel ends with 1001 when its sandbox goes", async () => {
    proxy.provider.set({ name: "short" });
    const before = ends.length;
    const client = await openRawWebSocket(proxy.port, "/x", {
      extra: `OpenSandbox-Ingress-To: short-${sandboxPort}\r\n`,
    });
    await eventually(() => ends.length > before);
    proxy.provider.table.remove("default", "short");
    const close = await client.frames.next();
    expect(parseClose(close?.payload ?? Buffer.alloc(0))?.code).toBe(1001);
    expect(await ends[before]?.frames.next()).toBeUndefined();
    client.socket.destroy();
    await eventually(() => proxy.server.inFlight() === 0);
  });

  test.each([
    ["a message above the limit", buildFrame(OPCODE.binary, Buffer.alloc(3 * 1024 * 1024)), 1009],
    ["invalid UTF-8", buildFrame(OPCODE.text, Buffer.from([0xff, 0xfe])), 1007],
    ["a reserved opcode", buildFrame(3, "x"), 1002],
    ["a reserved bit", buildFrame(1, "x", { firstByte: 0xc1 }), 1002],
    ["a masked frame", buildFrame(OPCODE.text, "x", { masked: true }), 1002],
  ])("Tunnel ends when the sandbox sends %s, and the client never sees it", async (_name, frame, code) => {
    const { client, end } = await openTunnel();
    end.socket.write(frame);
    const told = await client.frames.next();
    expect([told?.opcode, parseClose(told?.payload ?? Buffer.alloc(0))?.code]).toEqual([OPCODE.close, code]);
    client.socket.destroy();
  });

  test.each([
    ["a message above the limit", 2, Buffer.alloc(3 * 1024 * 1024), {}],
    ["invalid UTF-8", 1, Buffer.from([0xff, 0xfe]), {}],
    ["a reserved opcode", 3, Buffer.from("x"), {}],
  ])("Tunnel ends when the client sends %s, and the sandbox never sees it", async (_name, opcode, payload, options) => {
    const { client, end } = await openTunnel();
    client.send(opcode, payload, options);
    const seen = await end.frames.next();
    expect(seen === undefined || seen.opcode === OPCODE.close).toBe(true);
    client.socket.destroy();
    end.socket.destroy();
  });
});

describe("backpressure", () => {
  /** Sends until the path is full, then lets the reader go on and counts what arrives. */
  async function fill(from: Socket, to: Socket, frames: FrameReader, masked: boolean) {
    const chunk = buildFrame(OPCODE.binary, Buffer.alloc(1024 * 1024, 7), { masked });
    const TOTAL = 64;
    to.pause();
    let written = 0;
    for (; written < TOTAL; written++) from.write(chunk);
    const full = await eventually(async () => {
      // There is no event for "nothing more is taken". So the written bytes must not change between two checks.
      const before = from.bytesWritten - from.writableLength;
      await new Promise((resolve) => setTimeout(resolve, 400));
      return from.bytesWritten - from.writableLength === before;
    });
    expect(full).toBe(true);
    const stuckBytes = from.writableLength;
    to.resume();
    for (let i = 0; i < TOTAL; i++) expect((await frames.next())?.payload.length).toBe(1024 * 1024);
    return stuckBytes;
  }

  test("Tunnel makes the client wait for a sandbox that does not read, and loses nothing", async () => {
    const { client, end } = await openTunnel();
    expect(await fill(client.socket, end.socket, end.frames, true)).toBeGreaterThan(16 * 1024 * 1024);
    client.socket.destroy();
  }, 60_000);

  test("Tunnel makes the sandbox wait for a client that does not read, and loses nothing", async () => {
    const { client, end } = await openTunnel();
    expect(await fill(end.socket, client.socket, client.frames, false)).toBeGreaterThan(16 * 1024 * 1024);
    client.socket.destroy();
  }, 60_000);
});

test("isWebSocketUpgrade takes a request with Upgrade but without Connection: upgrade for an ordinary one", async () => {
  const connection = await openRaw(proxy.port);
  connection.write("GET /status.ok HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n");
  expect((await connection.readAnswer()).status).toBe(200);
  connection.destroy();
});
