import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import type { Socket } from "node:net";
import { eventually } from "../../scripts/lib/eventually.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw } from "../../scripts/lib/stage/raw-client.ts";
import {
  END_HEADERS,
  END_STREAM,
  field,
  FRAME,
  frame,
  PREFACE,
  repeatedField,
  requestHead,
} from "../support/http2-frames.ts";

setDefaultTimeout(60_000);

/** What one connection may cost while it floods, in bytes: the noise of a test's memory is below. */
const GROWTH_MAX_BYTES = 150 * 1024 * 1024;
/** Bytes of a flood that a server must have got, where it does not end the connection. */
const FLOOD_BYTES = 64 * 1024 * 1024;

let sandbox: ReturnType<typeof Bun.serve>;
let proxy: ProxyHarness;
let route = "";
beforeAll(() => {
  sandbox = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request) => (request.url.endsWith("/hang") ? new Promise<Response>(() => {}) : new Response("here")),
  });
  route = `sb-${sandbox.port}`;
  proxy = startProxy({ http2: true });
  for (const name of ["sb", "beside"]) proxy.provider.set({ name });
});
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await sandbox.stop(true);
});

const oddStream = (index: number): number => 2 * index + 1;
const start = (path: string, stream: number, more: Buffer = Buffer.alloc(0)): Buffer =>
  frame(FRAME.headers, {
    flags: END_STREAM | END_HEADERS,
    stream,
    payload: Buffer.concat([requestHead(path, route), more]),
  });
const startOpen = (): Buffer =>
  frame(FRAME.headers, { flags: END_STREAM, stream: 1, payload: requestHead("/", route) });
const cancel = (stream: number): Buffer => frame(FRAME.reset, { stream, payload: Buffer.from([0, 0, 0, 8]) });
const times = (count: number, bytes: Buffer): Buffer => Buffer.concat(Array.from({ length: count }, () => bytes));

interface Flood {
  /** The bytes of one batch. */
  readonly batch: (index: number) => Buffer;
  /** Whether the server must end the connection. */
  readonly ends: boolean;
}

const FLOODS: Readonly<Record<string, Flood>> = {
  "rapid resets (CVE-2023-44487)": {
    ends: true,
    batch: (index) =>
      Buffer.concat(
        Array.from({ length: 100 }, (_, at) => {
          const stream = oddStream(index * 100 + at);
          return Buffer.concat([start("/hang", stream), cancel(stream)]);
        }),
      ),
  },
  "CONTINUATION without end (CVE-2024-27316)": {
    ends: true,
    batch: (index) => {
      const more = frame(FRAME.continuation, { stream: 1, payload: field("x-a", "v".repeat(100)) });
      return Buffer.concat([index === 0 ? startOpen() : Buffer.alloc(0), times(50, more)]);
    },
  },
  "empty CONTINUATION": {
    ends: true,
    batch: (index) =>
      Buffer.concat([
        index === 0 ? startOpen() : Buffer.alloc(0),
        times(500, frame(FRAME.continuation, { stream: 1 })),
      ]),
  },
  "heads that grow when they are read (CVE-2016-6581)": {
    ends: true,
    batch: (index) => start("/", oddStream(index), repeatedField("x-b", "v".repeat(120), 10_000)),
  },
  "SETTINGS (CVE-2019-9515)": { ends: false, batch: () => times(2_000, frame(FRAME.settings)) },
  "PING (CVE-2019-9512)": { ends: false, batch: () => times(2_000, frame(FRAME.ping, { payload: Buffer.alloc(8) })) },
  WINDOW_UPDATE: {
    ends: false,
    batch: () => times(2_000, frame(FRAME.windowUpdate, { payload: Buffer.from([0, 0, 0, 1]) })),
  },
  "PRIORITY (CVE-2019-9513)": {
    ends: false,
    batch: (index) =>
      times(2_000, frame(FRAME.priority, { stream: oddStream(index), payload: Buffer.from([0, 0, 0, 0, 1]) })),
  },
};

/** Whether another client gets an answer of a sandbox. */
async function isServed(sandboxName: string): Promise<boolean> {
  const headers = { "OpenSandbox-Ingress-To": `${sandboxName}-${sandbox.port}` };
  const answer = await fetch(`http://127.0.0.1:${proxy.port}/`, { headers, keepalive: false });
  return (await answer.text()) === "here";
}

/** A client that reads nothing of the answers is not read for ever: it waits at most this long, in milliseconds. */
const STUCK_MS = 500;

async function writeSome(socket: Socket, bytes: Buffer): Promise<"written" | "stuck"> {
  if (socket.write(bytes)) return "written";
  const goesOn = new Promise<"written">((resolve) => {
    for (const event of ["drain", "close"]) socket.once(event, () => resolve("written"));
  });
  return Promise.race([goesOn, Bun.sleep(STUCK_MS).then(() => "stuck" as const)]);
}

test.each(Object.keys(FLOODS).flatMap((name) => [[name, "reads"] as const, [name, "does not read"] as const]))(
  "--http2 withstands a flood of %s by a client that %s",
  async (name, how) => {
    const flood = FLOODS[name];
    if (flood === undefined) throw new Error("no such flood");
    const before = process.memoryUsage.rss();
    const connection = await openRaw(proxy.port);
    const { socket } = connection;
    // What is read is not kept.
    socket.removeAllListeners("data");
    if (how === "reads") socket.resume();
    else socket.pause();
    socket.write(PREFACE);
    let sent = 0;
    for (let index = 0; sent < FLOOD_BYTES && !connection.isClosed && !socket.destroyed; index++) {
      const bytes = flood.batch(index);
      sent += bytes.length;
      if ((await writeSome(socket, bytes)) === "stuck") break;
      if (index % 20 === 0) expect(await isServed("beside")).toBe(true);
    }
    if (flood.ends && how === "reads") await eventually(() => connection.isClosed);
    expect(process.memoryUsage.rss() - before).toBeLessThan(GROWTH_MAX_BYTES);
    // Resets can use up the places of their own sandbox for a moment.
    await eventually(() => isServed("sb"));
    connection.destroy();
    await eventually(() => proxy.server.inFlight() === 0);
  },
);
