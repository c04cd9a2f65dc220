import { describe, expect, test } from "bun:test";
import type { Socket } from "node:net";

import { eventually } from "../support/eventually.ts";
import { type ProxyHarness, startProxy } from "../support/proxy-harness.ts";
import { type RawUpstream, type SeenRequest, startRawUpstream } from "../support/raw-upstream.ts";

/** Requests one after the other, as the requirement has it. */
const MANY = 5_000;

/** Sends requests, each with a number of its own as body, and gives the statuses. */
async function sendNumbered(
  proxy: ProxyHarness,
  upstream: RawUpstream,
  options: { readonly method: string; readonly count: number; readonly streamed?: boolean },
): Promise<number[]> {
  const statuses: number[] = [];
  for (let i = 0; i < options.count; i++) {
    const body = options.streamed === true ? new Blob([String(i)]).stream() : String(i);
    const answer = await fetch(`http://127.0.0.1:${proxy.port}/`, {
      method: options.method,
      headers: { "OpenSandbox-Ingress-To": `sb-${upstream.port}` },
      body,
    });
    await answer.text();
    statuses.push(answer.status);
  }
  return statuses;
}

/** How often each body has reached the sandbox, as counts of those that did not come exactly once. */
function countRepeats(requests: readonly SeenRequest[], count: number): { lost: number; repeated: number } {
  const seen = new Map<string, number>();
  for (const { body } of requests) seen.set(body, (seen.get(body) ?? 0) + 1);
  return { lost: count - seen.size, repeated: [...seen.values()].filter((times) => times > 1).length };
}

const OK = "HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: 2\r\n\r\nok";

function startProxyTo(): ProxyHarness {
  const proxy = startProxy();
  proxy.provider.set({ name: "sb" });
  return proxy;
}

describe("a server that closes right after each answer without saying so", () => {
  const startCloser = (): Promise<RawUpstream> => startRawUpstream((socket: Socket) => void socket.end(OK));

  test.each(["POST", "PATCH"])(
    "lease sends no %s twice, and loses at most one",
    async (method) => {
      await using proxy = startProxyTo();
      await using closer = await startCloser();
      const statuses = await sendNumbered(proxy, closer, { method, count: MANY });
      const errors = statuses.filter((status) => status !== 200).length;
      expect(errors).toBeLessThanOrEqual(1);
      const { lost, repeated } = countRepeats(closer.requests, MANY);
      expect(repeated).toBe(0);
      // What the sandbox did not get is what the client was told of.
      expect(lost).toBeLessThanOrEqual(errors);
    },
    60_000,
  );

  test("lease sends each streamed POST exactly once", async () => {
    await using proxy = startProxyTo();
    await using closer = await startCloser();
    const statuses = await sendNumbered(proxy, closer, { method: "POST", count: 500, streamed: true });
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(closer.requests.length).toBe(500);
  }, 60_000);

  test("lease answers every GET and PUT, and sends none more than twice", async () => {
    await using proxy = startProxyTo();
    await using closer = await startCloser();
    expect(new Set(await sendNumbered(proxy, closer, { method: "PUT", count: 1_000 }))).toEqual(new Set([200]));
    const seen = new Map<string, number>();
    for (const { body } of closer.requests) seen.set(body, (seen.get(body) ?? 0) + 1);
    expect(seen.size).toBe(1_000);
    expect(Math.max(...seen.values())).toBeLessThanOrEqual(2);
  }, 60_000);
});

test.each(["Connection: close\r\n", "Connection: Close, X\r\n"])(
  "lease loses nothing to a server that closes after each answer and says so (%j)",
  async (header) => {
    await using proxy = startProxyTo();
    await using closer = await startRawUpstream(
      (socket) => void socket.end(OK.replace("\r\n\r\n", `\r\n${header}\r\n`)),
    );
    const statuses = await sendNumbered(proxy, closer, { method: "POST", count: 1_000 });
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(countRepeats(closer.requests, 1_000)).toEqual({ lost: 0, repeated: 0 });
  },
);

test("lease loses nothing to a server of HTTP/1.0", async () => {
  await using proxy = startProxyTo();
  await using old = await startRawUpstream(
    (socket) => void socket.end("HTTP/1.0 200 OK\r\nContent-Type: t/x\r\n\r\nok"),
  );
  const statuses = await sendNumbered(proxy, old, { method: "POST", count: 1_000 });
  expect(new Set(statuses)).toEqual(new Set([200]));
  expect(countRepeats(old.requests, 1_000)).toEqual({ lost: 0, repeated: 0 });
});

describe("a server that reads a request and closes without an answer", () => {
  test.each([
    ["POST", 1],
    ["PATCH", 1],
    ["GET", 2],
    ["PUT", 2],
    ["DELETE", 2],
  ])("forwardRequest answers a %s with 502, and it arrives at most %d times", async (method, most) => {
    let warm = true;
    await using proxy = startProxyTo();
    await using upstream = await startRawUpstream((socket) => {
      if (warm) socket.write(OK);
      else socket.destroy();
    });
    // On a warm connection: that is where a client may believe that the request was not read.
    await sendNumbered(proxy, upstream, { method: method === "GET" ? "PUT" : method, count: 1 });
    warm = false;
    const before = upstream.requests.length;
    const answer = await fetch(`http://127.0.0.1:${proxy.port}/`, {
      method,
      headers: { "OpenSandbox-Ingress-To": `sb-${upstream.port}` },
    });
    expect(answer.status).toBe(502);
    await eventually(() => upstream.open.size === 0);
    expect(upstream.requests.length - before).toBeGreaterThanOrEqual(1);
    expect(upstream.requests.length - before).toBeLessThanOrEqual(most);
  });
});

test("lease lets POSTs share a connection while it is fresh", async () => {
  await using proxy = startProxyTo();
  await using upstream = await startRawUpstream(OK);
  const statuses = await sendNumbered(proxy, upstream, { method: "POST", count: 500 });
  expect(new Set(statuses)).toEqual(new Set([200]));
  // One a second; a connection for each would be 500.
  expect(upstream.connections).toBeLessThan(50);
});
