import { afterEach, beforeEach, describe, expect, spyOn, test } from "bun:test";
import type { Socket } from "node:net";

import { noProxyMetrics, type ProxyMetrics } from "../../src/metrics/metrics.ts";
import type { AccessEntry } from "../../src/proxy/report/access-log.ts";
import { Exchange } from "../../src/proxy/exchange/exchange.ts";
import { FrameLane } from "../../src/proxy/websocket/frame-lane.ts";
import { SandboxSide } from "../../src/proxy/websocket/sandbox-side.ts";
import { noRenewPublisher } from "../../src/renew/publisher.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw, type RawConnection, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import {
  acceptKey,
  buildFrame,
  closePayload,
  openRawWebSocket,
  OPCODE,
  type RawWebSocket,
} from "../../scripts/lib/stage/raw-websocket.ts";
import { createTableProvider, type TableProvider } from "../../scripts/lib/stage/table-provider.ts";
import { headerOf, type RawUpstream, startRawUpstream } from "../support/raw-upstream.ts";

const NOTHING = { exchanges: 0, clients: 0, heldBytes: 0, tunnels: 0 };

let sandbox: RawUpstream;
/** The sandbox's ends of streams and tunnels, in the order in which they were opened. */
let ends: Socket[] = [];
let provider: TableProvider;
let proxy: ProxyHarness;
let logged: AccessEntry[] = [];
let refused: string[] = [];
/** The callback that throws now. */
let broken = "";

function mayThrow(name: string): void {
  if (broken === name) throw new Error("thrown on purpose");
}

const metrics: ProxyMetrics = {
  ...noProxyMetrics,
  requestStarted: () => mayThrow("requestStarted"),
  requestEnded: () => mayThrow("requestEnded"),
  answered: () => mayThrow("answered"),
  moved: () => mayThrow("moved"),
  refused(code) {
    refused.push(code);
    mayThrow("refused");
  },
  resolved: () => mayThrow("resolved"),
  connected: () => mayThrow("connected"),
  tunnelOpened: () => mayThrow("tunnelOpened"),
  tunnelClosed: () => mayThrow("tunnelClosed"),
};

beforeEach(async () => {
  ends = [];
  logged = [];
  refused = [];
  broken = "";
  sandbox = await startRawUpstream(
    (socket, request) => {
      const key = headerOf(request, "sec-websocket-key");
      if (key !== undefined) {
        socket.write(
          `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptKey(key)}\r\n\r\n`,
        );
        ends.push(socket);
      } else if (request.line.includes("/stream")) {
        socket.write("HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n");
        ends.push(socket);
      } else if (request.line.includes("/later")) {
        // The body comes after its head has been read. Only then does a whole answer need a reader.
        socket.write("HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: 2\r\n\r\n");
        ends.push(socket);
      } else if (request.line.includes("/upload")) {
        ends.push(socket);
      } else {
        socket.write("HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: 2\r\n\r\nok");
      }
    },
    { early: true },
  );
  provider = createTableProvider();
  provider.set({ name: "sb" });
  const resolve = provider.resolve.bind(provider);
  proxy = startProxy(
    {},
    {
      provider: {
        ...provider,
        resolve(id) {
          mayThrow("resolve");
          return resolve(id);
        },
      },
      metrics,
      accessLog: {
        wants() {
          mayThrow("wants");
          return true;
        },
        log(entry) {
          mayThrow("log");
          logged.push(entry);
        },
      },
      renew: { ...noRenewPublisher, listens: true, offer: () => mayThrow("offer") },
    },
  );
});

afterEach(async () => {
  broken = "";
  await proxy[Symbol.asyncDispose]();
  await sandbox[Symbol.asyncDispose]();
});

const head = (line: string, extra = "", name = "sb"): string =>
  `${line} HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: ${name}-${sandbox.port}\r\n${extra}\r\n`;
const get = (name = "sb") => rawRequest(proxy.port, head("GET /", "", name));

/** Asserts that the exchange has given everything back and the next one is served. */
async function expectSound(): Promise<void> {
  broken = "";
  await eventually(() => expect(proxy.server.counters()).toEqual(NOTHING));
  expect((await get()).body).toBe("ok");
  await eventually(() => expect(proxy.server.counters()).toEqual(NOTHING));
  expect(logged.at(-1)).toMatchObject({ status: 200, code: undefined });
}

describe("what is thrown for a request", () => {
  test.each([
    ["requestStarted", 502],
    ["resolved", 502],
    ["resolve", 502],
    ["offer", 502],
    ["answered", 502],
    // The answer is with the client already, or on its way.
    ["requestEnded", 200],
    ["moved", 200],
  ] as const)("by %s makes it internal, answered with %d", async (name, status) => {
    broken = name;
    expect((await get()).status).toBe(status);
    await eventually(() => logged.length === 1);
    expect(logged[0]).toMatchObject({ status, code: "internal" });
    expect(logged[0]?.cause).toContain("Error");
    await expectSound();
  });

  test.each(["wants", "log"])("by %s of the log counts it as internal", async (name) => {
    broken = name;
    expect((await get()).status).toBe(200);
    await eventually(() => refused.length === 1);
    expect(refused).toEqual(["internal"]);
    await expectSound();
  });

  test.each(["requestStarted", "requestEnded", "refused", "resolved", "wants", "log"])(
    "by %s for a refused request does not change the refusal",
    async (name) => {
      broken = name;
      expect((await get("unknown")).status).toBe(name === "resolved" ? 502 : 404);
      await expectSound();
    },
  );
});

/** Throws at the next activity of an open exchange. */
const THROWN_BY_BYTES = "offer";

async function openStream(): Promise<RawConnection> {
  const connection = await openRaw(proxy.port);
  connection.write(head("GET /stream"));
  await connection.until((text) => text.includes("begin"));
  return connection;
}

describe("what is thrown for bytes that move", () => {
  test("of an answer cuts it visibly, and ends the sandbox's connection", async () => {
    const connection = await openStream();
    const other = await openStream();
    broken = THROWN_BY_BYTES;
    ends[0]?.write("4\r\nmore\r\n");
    expect(await connection.closed()).not.toContain("\r\n0\r\n");
    await eventually(() => sandbox.open.size === 1);
    expect(logged).toMatchObject([{ status: 200, code: "internal" }]);
    broken = "";
    ends[1]?.write("4\r\nmore\r\n");
    await other.until((text) => text.includes("more"));
    other.destroy();
    await expectSound();
  });

  test("of an upload answers it with 502, and ends the sandbox's connection", async () => {
    const connection = await openRaw(proxy.port);
    connection.write(head("POST /upload", "Transfer-Encoding: chunked\r\n"));
    connection.write("5\r\nbegin\r\n");
    await eventually(() => ends.length === 1);
    broken = THROWN_BY_BYTES;
    connection.write("4\r\nmore\r\n");
    expect((await connection.readAnswer()).status).toBe(502);
    await eventually(() => sandbox.open.size === 0);
    expect(logged).toMatchObject([{ status: 502, code: "internal" }]);
    connection.destroy();
    await expectSound();
  });
});

describe("what is thrown by a body's reader", () => {
  test.each([
    ["GET /later", "", "whole answer"],
    ["GET /stream", "", "streamed answer"],
    ["POST /", "Transfer-Encoding: chunked\r\n", "upload"],
  ])("that cannot be made (%s): the request is internal", async (line, extra) => {
    const spy = spyOn(ReadableStream.prototype, "getReader").mockImplementation(throwOnPurpose);
    const connection = await openRaw(proxy.port);
    try {
      connection.write(head(line, extra));
      expect((await connection.readAnswer()).status).toBe(502);
    } finally {
      spy.mockRestore();
    }
    connection.destroy();
    await eventually(() => logged.length === 1);
    expect(logged).toMatchObject([{ status: 502, code: "internal" }]);
    await eventually(() => ends.every(({ destroyed }) => destroyed));
    await expectSound();
  });

  test("during a stream looks like a sandbox that breaks off: the stream is cut", async () => {
    const connection = await openStream();
    const spy = spyOn(ReadableStreamDefaultReader.prototype, "read").mockImplementation(throwOnPurpose);
    try {
      ends[0]?.write("4\r\nmore\r\n");
      expect(await connection.closed()).not.toContain("\r\n0\r\n");
    } finally {
      spy.mockRestore();
    }
    expect(logged).toMatchObject([{ status: 200, code: "upstream_reset" }]);
    await eventually(() => ends[0]?.destroyed === true);
    await expectSound();
  });
});

function throwOnPurpose(): never {
  throw new Error("thrown on purpose");
}

interface OpenedTunnel {
  readonly client: RawWebSocket;
  readonly end: Socket;
}

const openClient = () => openRawWebSocket(proxy.port, "/", { extra: `OpenSandbox-Ingress-To: sb-${sandbox.port}\r\n` });

async function openTunnel(): Promise<OpenedTunnel> {
  const before = ends.length;
  const client = await openClient();
  expect(client.status).toBe(101);
  const end = ends[before];
  if (end === undefined) throw new Error("unreachable");
  return { client, end };
}

const fromClient =
  (opcode: number, payload: string | Buffer) =>
  (tunnel: OpenedTunnel): void =>
    tunnel.client.send(opcode, payload);
const fromSandbox =
  (opcode: number, payload: string | Buffer) =>
  (tunnel: OpenedTunnel): void =>
    void tunnel.end.write(buildFrame(opcode, payload));

/** More bytes than the buffers between sandbox and client take. */
const BIG = Buffer.alloc(16 * 1024 * 1024);

async function makeDrain(tunnel: OpenedTunnel): Promise<void> {
  tunnel.client.socket.pause();
  tunnel.end.write(buildFrame(OPCODE.binary, BIG));
  await eventually(() => proxy.server.counters().heldBytes > 0);
  tunnel.client.socket.resume();
}

type Method = "push" | "end" | "unblock";

describe("what is thrown in a callback of a WebSocket", () => {
  test.each([
    ["message of the client", "push", fromClient(OPCODE.text, "x")],
    ["ping of the client", "push", fromClient(OPCODE.ping, "x")],
    ["pong of the client", "push", fromClient(OPCODE.pong, "x")],
    ["Close of the client", "end", fromClient(OPCODE.close, closePayload(1000))],
    ["end of the client", "end", ({ client }: OpenedTunnel): void => void client.socket.destroy()],
    ["drain of the client", "unblock", makeDrain],
    ["message of the sandbox", "push", fromSandbox(OPCODE.text, "x")],
    ["ping of the sandbox", "push", fromSandbox(OPCODE.ping, "x")],
    ["pong of the sandbox", "push", fromSandbox(OPCODE.pong, "x")],
    ["Close of the sandbox", "end", fromSandbox(OPCODE.close, closePayload(1000))],
    ["end of the sandbox", "end", ({ end }: OpenedTunnel): void => void end.destroy()],
  ] as const)("at a %s ends only that one as internal", async (_name, method: Method, cause): Promise<void> => {
    const other = await openTunnel();
    const tunnel = await openTunnel();
    const spy = spyOn(FrameLane.prototype, method).mockImplementation(throwOnPurpose);
    try {
      await cause(tunnel);
      await eventually(() => logged.length === 1);
    } finally {
      spy.mockRestore();
    }
    expect(logged[0]).toMatchObject({ status: 101, code: "internal", tunnel: true });
    tunnel.client.socket.destroy();
    await eventually(() => proxy.server.counters().tunnels === 1 && sandbox.open.size === 1);
    other.client.send(OPCODE.close, closePayload(1000));
    await other.client.frames.next();
    other.client.socket.destroy();
    await expectSound();
  });

  test.each([
    ["before it has anything", () => spyOn(Exchange.prototype, "openTunnel").mockImplementation(throwOnPurpose), 502],
    ["when it has all", () => spyOn(SandboxSide.prototype, "listen").mockImplementation(throwOnPurpose), 101],
  ] as const)("that opens, %s, closes both sides", async (_name, breakIt, status) => {
    const spy = breakIt();
    const client = await openClient();
    spy.mockRestore();
    await eventually(() => client.socket.readableEnded || client.socket.destroyed || !client.socket.writable);
    await eventually(() => sandbox.open.size === 0);
    client.socket.destroy();
    await eventually(() => logged.length === 1);
    expect(logged).toMatchObject([{ status, code: "internal" }]);
    await expectSound();
  });

  test.each([
    ["connected", 502],
    ["tunnelOpened", 101],
  ] as const)("by %s leaves no connection to the sandbox", async (name, status) => {
    broken = name;
    const client = await openClient();
    expect(client.status).toBe(status);
    await eventually(() => logged.length === 1);
    expect(logged[0]).toMatchObject({ status, code: "internal" });
    await eventually(() => ends.length === 1 && sandbox.open.size === 0);
    client.socket.destroy();
    await expectSound();
  });

  test("by tunnelClosed ends it nevertheless", async () => {
    const { client } = await openTunnel();
    broken = "tunnelClosed";
    client.send(OPCODE.close, closePayload(1000));
    await client.frames.next();
    await eventually(() => logged.length === 1);
    expect(logged[0]).toMatchObject({ status: 101, code: "internal" });
    await expectSound();
  });

  test.each(["requestEnded", "wants", "log"])("by %s at its end keeps nothing open", async (name) => {
    const { client } = await openTunnel();
    broken = name;
    client.send(OPCODE.close, closePayload(1000));
    await client.frames.next();
    await eventually(() => refused.includes("internal") || logged.length === 1);
    await expectSound();
  });

  test("while all are closed keeps none of the others open", async () => {
    const tunnels = [await openTunnel(), await openTunnel(), await openTunnel()];
    const spy = spyOn(FrameLane.prototype, "end").mockImplementationOnce(throwOnPurpose);
    const drained = proxy.server.drain(5_000);
    for (const { client } of tunnels) {
      expect((await client.frames.next())?.opcode).toBe(OPCODE.close);
      client.send(OPCODE.close, closePayload(1001));
    }
    await drained;
    spy.mockRestore();
    expect(logged).toHaveLength(3);
    expect(logged.filter(({ code }) => code === "internal")).toHaveLength(1);
    expect(proxy.server.counters()).toEqual(NOTHING);
  });
});

describe("what is thrown for a name", () => {
  test("by what judges its address refuses the request as internal, and the next may succeed", async () => {
    let isBroken = true;
    const named = startProxy(
      {},
      {
        names: {
          lookup: () => Promise.resolve({ addresses: ["127.0.0.1"], unanswered: undefined }),
          judge() {
            if (isBroken) throw new Error("thrown on purpose");
            return undefined;
          },
          logger: { error() {} },
        },
      },
    );
    named.provider.set({ name: "sb", endpoint: "sandbox.example.test" });
    expect((await rawRequest(named.port, head("GET /"))).status).toBe(502);
    expect(named.accessLog).toMatchObject([{ code: "internal" }]);
    isBroken = false;
    expect((await rawRequest(named.port, head("GET /"))).body).toBe("ok");
    await named[Symbol.asyncDispose]();
  });
});

describe("a read that nobody waits for", () => {
  test("of a slow answer, for which memory is too short to stream, is not an unhandled rejection", async () => {
    let resident = 0;
    await using drips = await startRawUpstream((socket) => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: 1000000\r\n\r\n");
      const timer = setInterval(() => socket.write("x"), 2);
      socket.on("close", () => clearInterval(timer));
      resident = 80;
    });
    await using short = startProxy({}, { memory: { limitBytes: 100, residentBytes: () => resident, collect() {} } });
    short.provider.set({ name: "sb" });
    const answer = await rawRequest(
      short.port,
      `GET / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${drips.port}\r\n\r\n`,
    );
    expect(answer.status).toBe(503);
    await eventually(() => drips.open.size === 0);
    expect(short.accessLog).toMatchObject([{ code: "memory_short" }]);
    expect(short.server.counters()).toEqual(NOTHING);
  });
});
