import { describe, expect, test } from "bun:test";
import type { Socket } from "node:net";

import { eventually } from "../../scripts/lib/eventually.ts";
import { createFakeClock } from "../../scripts/lib/stage/fake-clock.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { headerValues, openRaw, type RawConnection, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import {
  LINGER_MS,
  UNREAD_BODIES_MAX,
  UNREAD_BODY_MAX_BYTES,
  UNREAD_BODY_MAX_MS,
} from "../../src/proxy/request/unread-body.ts";
import { startRawUpstream } from "../support/raw-upstream.ts";
import { requirePart } from "../support/requires.ts";

const SIZE = 2_000_000;
/** More bytes than the buffers of two loopback sockets take. */
const LARGE_SIZE = 20_000_000;
const TIMES = 3;

const post = (length: number): string =>
  `POST / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: nobody-1\r\nContent-Length: ${length}\r\n\r\n`;

const PYTHON_CLIENT = `
import http.client, sys
for _ in range(${TIMES}):
    c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
    c.request("POST", "/", b"x" * ${SIZE}, {"OpenSandbox-Ingress-To": "nobody-1"})
    print(c.getresponse().status)
`;

const NODE_CLIENT = `
const body = Buffer.alloc(${LARGE_SIZE});
const headers = { "OpenSandbox-Ingress-To": "nobody-1" };
(async () => {
  for (let i = 0; i < ${TIMES}; i++) {
    const answer = await fetch("http://127.0.0.1:" + process.argv[1], { method: "POST", body, headers });
    await answer.text();
    console.log(answer.status);
  }
})();
`;

const CURL_CLIENT = `
for i in $(seq ${TIMES}); do
  head -c ${LARGE_SIZE} /dev/zero | curl -sS -o /dev/null -w '%{http_code}\\n' -H 'OpenSandbox-Ingress-To: nobody-1' \
    -H 'Expect:' --data-binary @- "http://127.0.0.1:$1/"
done
`;

/** Real clients, each with the programs that it needs and its command without the port. */
const CLIENTS: readonly [what: string, isPresent: boolean, command: readonly string[]][] = [
  [
    "Python's http.client, which reads when it has sent 2 MB",
    requirePart("python3", { get: "apt-get install python3" }),
    ["python3", "-c", PYTHON_CLIENT],
  ],
  ["Node's fetch with 20 MB", requirePart("node", { get: "apt-get install nodejs" }), ["node", "-e", NODE_CLIENT]],
  ["curl with 20 MB", requirePart("curl", { get: "apt-get install curl" }), ["sh", "-c", CURL_CLIENT, "sh"]],
];

/**
 * When uploads are refused: before anybody has begun to read them, and after the sandbox turns out to be gone or
 * unknown.
 */
const REFUSERS = [
  ["nobody", 404],
  ["away", 503],
  ["unresolved", 503],
] as const;

for (const [what, isPresent, command] of CLIENTS) {
  test.skipIf(!isPresent).each(REFUSERS)(
    `the client can read the refusal of its upload to %s: ${what}`,
    async (...at) => {
      const [name, status] = at;
      await using proxy = startProxy({ connectTimeoutMs: 100 });
      if (name === "away") proxy.provider.set({ name: "nobody" });
      if (name === "unresolved") proxy.provider.set({ name: "nobody", endpoint: "nobody.default.svc" });
      const client = Bun.spawn([...command, String(proxy.port)], { stderr: "pipe", timeout: 30_000 });
      const [errors, statuses] = await Promise.all([client.stderr.text(), client.stdout.text()]);
      expect([errors, statuses.trim().split("\n")]).toEqual(["", Array.from({ length: TIMES }, () => String(status))]);
    },
  );
}

test("UnreadBodies lets a client read the refusal that reads only after sending 2 MB", async () => {
  await using proxy = startProxy();
  const client = await openRaw(proxy.port);
  client.socket.pause();
  const sent = Promise.withResolvers<void>();
  client.socket.write(post(SIZE) + "x".repeat(SIZE), (error) => (error ? sent.reject(error) : sent.resolve()));
  await sent.promise;
  client.socket.resume();
  const answer = await client.readAnswer();
  expect([answer.status, headerValues(answer, "connection")]).toEqual([404, ["close"]]);
  client.destroy();
});

test("UnreadBodies answers with a length if the upload ends soon", async () => {
  await using proxy = startProxy();
  const answer = await rawRequest(proxy.port, `${post(UNREAD_BODY_MAX_BYTES)}${"x".repeat(UNREAD_BODY_MAX_BYTES)}`);
  expect([answer.status, headerValues(answer, "transfer-encoding")]).toEqual([404, []]);
});

test.each(["GET", "HEAD"].flatMap((method) => ["/status.ok", "/x"].map((path) => [method, path] as const)))(
  "the connection of a %s %s with a body is closed, since Bun would read the body as long as it comes",
  async (method, path) => {
    await using proxy = startProxy();
    for (const framing of [`Content-Length: ${SIZE}\r\n\r\nx`, "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"]) {
      const client = await openRaw(proxy.port);
      client.write(`${method} ${path} HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: nobody-1\r\n${framing}`);
      expect(await client.closed()).toMatch(path === "/x" ? /^HTTP\/1\.1 400 / : /^HTTP\/1\.1 200 /);
    }
    const client = await openRaw(proxy.port);
    for (let round = 0; round < 2; round++) {
      client.write(`${method} /status.ok HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n`);
      expect((await client.readAnswer({ head: method === "HEAD" })).status).toBe(200);
    }
    client.destroy();
  },
);

describe("the limits of UnreadBodies", () => {
  /** With a stopped clock, so that only a limit can end anything. */
  function startStill() {
    const clock = createFakeClock();
    return { clock, proxy: startProxy({}, { clock }) };
  }

  /** Sends the head and the beginning of an upload that does not go on. */
  async function stall(proxy: ProxyHarness, sentBytes = 1): Promise<RawConnection> {
    const client = await openRaw(proxy.port);
    client.write(`${post(2 * LARGE_SIZE)}${"x".repeat(sentBytes)}`);
    return client;
  }

  /** When this resolves, everything sent before has been handled. */
  async function settle(proxy: ProxyHarness, clients: readonly RawConnection[]): Promise<void> {
    await eventually(() => proxy.accessLog.length === clients.length);
    await rawRequest(proxy.port, "GET /status.ok HTTP/1.1\r\nHost: x\r\n\r\n");
  }

  const isWhole = (text: string): boolean => text.endsWith("\r\n0\r\n\r\n");
  const isAnswered = (text: string): boolean => text.includes(" 404 ") && text.includes("OpenSandbox Ingress: ");

  test("UnreadBodies reads 64 uploads at a time; further ones are answered and closed at once", async () => {
    const { clock, proxy } = startStill();
    await using _ = proxy;
    const held = await Promise.all(Array.from({ length: UNREAD_BODIES_MAX }, () => stall(proxy)));
    await settle(proxy, held);
    const beyond = await Promise.all(Array.from({ length: 8 }, () => stall(proxy)));
    for (const client of beyond) expect(isAnswered(await client.closed())).toBe(true);
    expect(held.map(({ received }) => received).join("")).toBe("");

    // Then all are answered, and the connections stay open.
    clock.advance(UNREAD_BODY_MAX_MS);
    for (const client of held) expect(isAnswered(await client.until(isAnswered))).toBe(true);
    const next = await stall(proxy);
    expect(isAnswered(await next.closed())).toBe(true);
    expect(held.filter(({ received, isClosed }) => isClosed || isWhole(received))).toEqual([]);

    // Then they are closed, and places are free again.
    clock.advance(LINGER_MS);
    for (const client of held) expect(isWhole(await client.closed())).toBe(true);
    const late = await stall(proxy);
    await eventually(() => proxy.accessLog.length === held.length + beyond.length + 2);
    await rawRequest(proxy.port, "GET /status.ok HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(late.received).toBe("");
    late.destroy();
  });

  test("UnreadBodies answers at once when 256 KiB have come, and reads on while the connection is open", async () => {
    const { clock, proxy } = startStill();
    await using _ = proxy;
    const under = await stall(proxy, UNREAD_BODY_MAX_BYTES);
    await settle(proxy, [under]);
    expect(under.received).toBe("");
    under.write("x");
    expect(isAnswered(await under.until(isAnswered))).toBe(true);
    const sent = Promise.withResolvers<void>();
    under.socket.write("x".repeat(LARGE_SIZE), (error) => (error ? sent.reject(error) : sent.resolve()));
    // More than the kernel takes for a server that does not read.
    await sent.promise;
    expect(under.isClosed).toBe(false);
    clock.advance(LINGER_MS);
    expect(isWhole(await under.closed())).toBe(true);
  });

  test.each(["before its answer", "behind its answer"])(
    "UnreadBodies has free places again when its clients leave %s",
    async (when) => {
      const { clock, proxy } = startStill();
      await using _ = proxy;
      const held = await Promise.all(Array.from({ length: UNREAD_BODIES_MAX }, () => stall(proxy)));
      await settle(proxy, held);
      if (when === "behind its answer") {
        clock.advance(UNREAD_BODY_MAX_MS);
        for (const client of held) await client.until(isAnswered);
      }
      for (const client of held) client.destroy();
      // An upload without a free place is answered at once.
      await eventually(async () => {
        const before = proxy.accessLog.length;
        const next = await stall(proxy);
        await eventually(() => proxy.accessLog.length > before);
        await rawRequest(proxy.port, "GET /status.ok HTTP/1.1\r\nHost: x\r\n\r\n");
        const isHeld = next.received === "";
        next.destroy();
        return isHeld;
      });
    },
  );

  test("a refused upload without end does not keep its connection, and a short one does", async () => {
    const { clock, proxy } = startStill();
    await using _ = proxy;
    proxy.provider.set({ name: "nobody" });
    const endless = await openRaw(proxy.port);
    endless.write(post(1).replace("Content-Length: 1", "Transfer-Encoding: chunked"));
    endless.write(`10000\r\n${"x".repeat(0x1_0000)}\r\n`);
    expect(await endless.until((text) => text.includes("OpenSandbox Ingress: "))).toContain(" 503 ");
    expect(endless.isClosed).toBe(false);
    clock.advance(LINGER_MS);
    expect(isWhole(await endless.closed())).toBe(true);

    const short = await openRaw(proxy.port);
    for (let round = 0; round < 2; round++) {
      short.write(`${post(UNREAD_BODY_MAX_BYTES)}${"x".repeat(UNREAD_BODY_MAX_BYTES)}`);
      const answer = await short.readAnswer();
      expect([answer.status, headerValues(answer, "connection")]).toEqual([503, []]);
    }
    short.destroy();
  });

  test("an upload that goes on after the answer of its sandbox does not keep its connection", async () => {
    const { clock, proxy } = startStill();
    await using _ = proxy;
    const text = "HTTP/1.1 413 Too Large\r\nContent-Type: t/x\r\nContent-Length: 2\r\n\r\nno";
    await using sandbox = await startRawUpstream(text, { early: true });
    proxy.provider.set({ name: "sb" });
    const client = await openRaw(proxy.port);
    client.write(post(2 * LARGE_SIZE).replace("nobody-1", `sb-${sandbox.port}`));
    client.write("x".repeat(LARGE_SIZE));
    const received = await client.until((all) => all.includes("2\r\nno\r\n"));
    expect(received).toStartWith("HTTP/1.1 413 ");
    expect(client.isClosed).toBe(false);
    // Set when the answer has ended.
    await eventually(() => {
      clock.advance(LINGER_MS);
      return client.isClosed;
    });
    expect(isWhole(await client.closed())).toBe(true);
  });

  test.each([
    ["answers", "HTTP/1.1 413 Too Large\r\nContent-Type: t/x\r\nContent-Length: 2\r\n\r\nno", 413],
    ["resets its connection", (socket: Socket) => void socket.resetAndDestroy(), 502],
  ] as const)(
    "an upload of unknown length that waits for its client does not keep its connection if the sandbox %s",
    async (_what, answer, status) => {
      const { clock, proxy } = startStill();
      await using _ = proxy;
      await using sandbox = await startRawUpstream(answer, { early: true });
      proxy.provider.set({ name: "sb" });
      const client = await openRaw(proxy.port);
      const head = post(1).replace("nobody-1", `sb-${sandbox.port}`);
      client.write(head.replace("Content-Length: 1", "Transfer-Encoding: chunked"));
      client.write("5\r\nhello\r\n");
      const received = await client.until((text) => text.includes("\r\n\r\n"));
      expect(received).toStartWith(`HTTP/1.1 ${status} `);
      expect(received).toContain("Connection: close\r\n");
      await eventually(() => {
        clock.advance(LINGER_MS);
        return client.isClosed;
      });
      expect(isWhole(await client.closed())).toBe(true);
    },
  );
});
