import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Socket } from "node:net";

import { eventually } from "../../../scripts/lib/eventually.ts";
import { type ProxyHarness, startProxy } from "../../../scripts/lib/stage/proxy-harness.ts";
import { openRaw, rawRequest } from "../../../scripts/lib/stage/raw-client.ts";
import { type RawUpstream, startRawUpstream } from "../../support/raw-upstream.ts";

/** What a hostile sandbox does with a request. */
type Hostility = (socket: Socket) => void;

const HEAD = "HTTP/1.1 200 OK\r\nContent-Type: t/x\r\n";
const once =
  (bytes: string): Hostility =>
  (socket) =>
    void socket.write(bytes, "latin1");
const andClose =
  (bytes: string): Hostility =>
  (socket) =>
    void socket.end(bytes, "latin1");

/** Writes for as long as somebody reads, a burst at a time: the ingress runs in the same event loop. */
const forEver =
  (first: string, piece: string): Hostility =>
  (socket) => {
    socket.write(first);
    const burst = piece.repeat(100);
    const go = (): void => {
      if (socket.destroyed) return;
      if (socket.write(burst)) setImmediate(go);
    };
    socket.on("drain", go);
    go();
  };

/** Answers that no client may take for whole and good: name, source, and what the sandbox does. */
const HOSTILE: readonly (readonly [string, string, Hostility])[] = [
  [
    "two different lengths",
    "RFC 9112 §6.3 item 5",
    andClose(`${HEAD}Content-Length: 2\r\nContent-Length: 3\r\n\r\nok`),
  ],
  ["a length that is no number", "RFC 9112 §6.3 item 5", andClose(`${HEAD}Content-Length: two\r\n\r\nok`)],
  ["a negative length", "RFC 9112 §6.3 item 5", andClose(`${HEAD}Content-Length: -2\r\n\r\nok`)],
  ["less than its length", "RFC 9112 §8", andClose(`${HEAD}Content-Length: 10\r\n\r\nok`)],
  ["less than a large length", "RFC 9112 §8", andClose(`${HEAD}Content-Length: 1000000\r\n\r\nok`)],
  [
    "a chunk size that is none",
    "RFC 9112 §7.1",
    andClose(`${HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n`),
  ],
  ["chunks that end early", "RFC 9112 §7.1", andClose(`${HEAD}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n`)],
  ["a chunk that is cut", "RFC 9112 §7.1", andClose(`${HEAD}Transfer-Encoding: chunked\r\n\r\nff\r\nok`)],
  [
    "a chunk size beyond 64 bits",
    "RFC 9112 §7.1",
    andClose(`${HEAD}Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nok`),
  ],
  ["nothing", "early close", (socket) => void socket.end()],
  ["half a head", "early close", andClose("HTTP/1.1 200 OK\r\nContent-")],
  ["garbage", "no HTTP", andClose("\u0000\u0001\u0002 this is no answer at all\r\n\r\n")],
  ["an SSH banner", "no HTTP", andClose("SSH-2.0-OpenSSH_9.2p1 Debian\r\n")],
  ["a TLS alert", "no HTTP", andClose("\u0015\u0003\u0001\u0000\u0002\u0002F")],
  [
    "HTTP/2",
    "no HTTP/1.1",
    andClose("\u0000\u0000\u0012\u0004\u0000\u0000\u0000\u0000\u0000\u0000\u0003\u0000\u0000\u0000d"),
  ],
  [
    "a 101 that nobody asked for",
    "RFC 9110 §15.2.2",
    once("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"),
  ],
  ["a status that is none", "RFC 9112 §4", andClose("HTTP/1.1 99999 Odd\r\nContent-Length: 0\r\n\r\n")],
  ["a head without end", "unbounded head", forEver(HEAD, `X-Endless: ${"a".repeat(1000)}\r\n`)],
  ["one header without end", "unbounded head", forEver(`${HEAD}X-Endless: `, "a".repeat(1000))],
  ["1xx without end", "RFC 9110 §15.2", forEver("", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")],
];

let sandbox: RawUpstream;
let current: Hostility = () => {};
let proxy: ProxyHarness;

beforeAll(async () => {
  sandbox = await startRawUpstream((socket) => current(socket));
  // What goes on without end is ended by the limit, as an operator would have it.
  proxy = startProxy({ responseTimeoutMs: 2_000 });
  proxy.provider.set({ name: "sb" });
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await sandbox[Symbol.asyncDispose]();
});

const request = (): string => `GET / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${sandbox.port}\r\n\r\n`;

describe("conformance of answers", () => {
  test.each(HOSTILE.map(([name, source, act]): [string, Hostility] => [`${name} (${source})`, act]))(
    "%s gives 502 or 504, or a visibly cut answer",
    async (_name, act) => {
      current = act;
      const connection = await openRaw(proxy.port);
      connection.write(request());
      const answer = await connection.readAnswer().catch(() => undefined);
      // No whole answer: the connection was cut in the middle of it, which is as good.
      expect([undefined, 502, 504]).toContain(answer?.status);
      connection.destroy();
      await eventually(() => proxy.server.inFlight() === 0);
      current = once(`${HEAD}Content-Length: 2\r\n\r\nok`);
      expect((await rawRequest(proxy.port, request())).body).toBe("ok");
    },
    20_000,
  );

  test("a length beside chunks is answered as chunks or refused, never as both (RFC 9112 §6.3 item 3)", async () => {
    current = andClose(`${HEAD}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`);
    const answer = await rawRequest(proxy.port, request()).catch(() => undefined);
    if (answer?.status === 200) expect(answer.body).toBe("ok");
    else expect([undefined, 502]).toContain(answer?.status);
  });

  test("a few 1xx before the answer are passed over", async () => {
    current = once(`${"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(3)}${HEAD}Content-Length: 2\r\n\r\nok`);
    expect((await rawRequest(proxy.port, request())).body).toBe("ok");
  });

  test("a small answer whose head and body come apart keeps its Content-Length", async () => {
    current = (socket) => {
      socket.write(`${HEAD}Content-Length: 5\r\n\r\n`);
      // Apart in time, so that they come in packets of their own; the test waits for the answer, not for these.
      setTimeout(() => socket.write("hel"), 20);
      setTimeout(() => socket.write("lo"), 40);
    };
    const answer = await rawRequest(proxy.port, request());
    expect(answer.body).toBe("hello");
    expect(answer.headers).toContainEqual(["content-length", "5"]);
  });
});
