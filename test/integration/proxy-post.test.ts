import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { startProxy, type ProxyHarness } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { startRawUpstream } from "../support/raw-upstream.ts";

const ANSWER = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";

let proxy: ProxyHarness;
beforeAll(() => {
  proxy = startProxy();
  proxy.provider.set({ name: "sb" });
});
afterAll(() => proxy[Symbol.asyncDispose]());

const post = (port: number, body: string, method = "POST"): string =>
  `${method} / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${port}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

/** Sends numbered requests one after the other over one connection. Returns the statuses. */
async function sendInTurn(count: number, request: (n: number) => string): Promise<number[]> {
  const connection = await openRaw(proxy.port);
  const statuses: number[] = [];
  for (let n = 0; n < count; n++) {
    connection.write(request(n));
    statuses.push((await connection.readAnswer()).status);
  }
  connection.destroy();
  return statuses;
}

describe("forwardRequest", () => {
  test("forwardRequest neither doubles nor loses any of 5,000 POSTs to a server that silently closes after each answer", async () => {
    await using upstream = await startRawUpstream((socket) => void socket.end(ANSWER));
    const statuses = await sendInTurn(5_000, (n) => post(upstream.port, `n${n}`));
    const bodies = upstream.requests.map(({ body }) => body);
    expect(new Set(bodies).size).toBe(bodies.length);
    expect(statuses.filter((status) => status !== 200)).toEqual([]);
    expect(bodies).toHaveLength(5_000);
  }, 60_000);

  test("forwardRequest never sends a streamed body over a connection that another request has used", async () => {
    await using upstream = await startRawUpstream((socket) => void socket.end(ANSWER));
    const chunked = (n: number): string =>
      `POST / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${upstream.port}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nn${String(n).padStart(4, "0")}\r\n0\r\n\r\n`;
    const statuses = await sendInTurn(300, chunked);
    expect(statuses.filter((status) => status !== 200)).toEqual([]);
    expect(upstream.requests).toHaveLength(300);
    expect(new Set(upstream.requests.map(({ body }) => body)).size).toBe(300);
  }, 60_000);

  test.each(["GET", "PUT", "DELETE"])(
    "forwardRequest sends %s at most twice to a server that silently closes after each answer, and gets an answer",
    async (method) => {
      await using upstream = await startRawUpstream((socket) => void socket.end(ANSWER));
      const body = (n: number): string => (method === "PUT" ? `n${n}` : "");
      const statuses = await sendInTurn(500, (n) => post(upstream.port, body(n), method));
      expect(statuses.filter((status) => status !== 200)).toEqual([]);
      const seen = new Map<string, number>();
      for (const request of upstream.requests) seen.set(request.body, (seen.get(request.body) ?? 0) + 1);
      if (method === "PUT") expect(Math.max(...seen.values())).toBeLessThanOrEqual(2);
      expect(upstream.requests.length).toBeLessThanOrEqual(1_000);
    },
    60_000,
  );

  test("forwardRequest does not repeat a POST that a sandbox takes and never answers", async () => {
    await using upstream = await startRawUpstream((socket) => void socket.destroy());
    expect((await rawRequest(proxy.port, post(upstream.port, "x"))).status).toBe(502);
    expect(upstream.requests).toHaveLength(1);
    expect(proxy.accessLog.at(-1)).toMatchObject({ code: "upstream_reset" });
  });

  test("forwardRequest adds no Content-Type to a POST without one", async () => {
    await using upstream = await startRawUpstream(ANSWER);
    await rawRequest(proxy.port, post(upstream.port, "x"));
    expect(upstream.requests[0]?.headerLines.filter((line) => /^content-type/i.test(line))).toEqual([]);
  });
});
