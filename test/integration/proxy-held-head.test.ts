import { expect, test } from "bun:test";

import { eventually } from "../../scripts/lib/eventually.ts";
import { startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { headerValues, openRaw, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { startRawUpstream } from "../support/raw-upstream.ts";

/** A proxy in front of a sandbox that sends only these bytes, and the client's connection. */
async function startStalled(bytes: string, config: { readonly streamIdleTimeoutMs?: number } = {}) {
  const proxy = startProxy(config);
  proxy.provider.set({ name: "sb" });
  const sandbox = await startRawUpstream(bytes);
  const client = await openRaw(proxy.port);
  const request = `GET / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${sandbox.port}\r\n\r\n`;
  client.write(request);
  await eventually(() => sandbox.requests.length === 1);
  return {
    proxy,
    sandbox,
    client,
    request,
    async [Symbol.asyncDispose]() {
      client.destroy();
      await proxy[Symbol.asyncDispose]();
      await sandbox[Symbol.asyncDispose]();
    },
  };
}

const HEAD = "HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: 10\r\n\r\n";

test("relayAnswer passes on an answer whole, with its length, although its body comes after its head", async () => {
  await using stage = await startStalled(HEAD);
  for (const socket of stage.sandbox.open) socket.write("begin-ends");
  const answer = await stage.client.readAnswer();
  expect([answer.status, answer.body]).toEqual([200, "begin-ends"]);
  expect(headerValues(answer, "content-length")).toEqual(["10"]);
});

test("relayAnswer streams an answer that becomes slow, and holds nothing of it back", async () => {
  await using stage = await startStalled(`${HEAD}begin`);
  await stage.client.until((text) => text.includes("begin"));
  for (const socket of stage.sandbox.open) socket.write("-ends");
  const answer = await stage.client.readAnswer();
  expect([answer.status, answer.body]).toEqual([200, "begin-ends"]);
  expect(headerValues(answer, "content-length")).toEqual([]);
  expect(stage.proxy.server.counters().heldBytes).toBe(0);
});

test("relayAnswer counts nothing in the account for an answer whose body never begins", async () => {
  await using stage = await startStalled(HEAD);
  await eventually(() => stage.proxy.server.inFlight() === 1);
  await eventually(() => stage.proxy.server.counters().heldBytes === 10);
  await eventually(() => stage.proxy.server.counters().heldBytes === 0);
  for (const socket of stage.sandbox.open) socket.write("begin-ends");
  expect((await stage.client.readAnswer()).body).toBe("begin-ends");
});

test("relayAnswer answers 502 if a small answer is cut before it is whole", async () => {
  await using stage = await startStalled(`${HEAD}begin`);
  for (const socket of stage.sandbox.open) socket.destroy();
  expect((await stage.client.readAnswer()).status).toBe(502);
});

test("relayAnswer cuts an answer that stalls for --stream-idle-timeout", async () => {
  await using stage = await startStalled(`${HEAD}begin`, { streamIdleTimeoutMs: 400 });
  expect(await stage.client.closed()).toContain("begin");
  await eventually(() => stage.sandbox.open.size === 0);
  expect(stage.proxy.accessLog.at(-1)).toMatchObject({ status: 200, code: "upstream_timeout" });
});

test("relayAnswer ends a stalled answer at the sandbox when the client leaves", async () => {
  await using stage = await startStalled(`${HEAD}begin`);
  stage.client.destroy();
  await eventually(() => stage.sandbox.open.size === 0 && stage.proxy.server.inFlight() === 0);
  expect(stage.proxy.accessLog.at(-1)).toMatchObject({ code: "client_closed" });
});

/**
 * Bun holds the end of a head back until the first byte of a streamed body (oven-sh/bun#33660, open). No option, empty
 * chunk or flush changes this. If this test fails, Bun has fixed it, and the limit in docs/limits.md can go.
 */
test("Bun.serve sends the end of a head together with the first byte of a stream", async () => {
  await using stage = await startStalled(
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
  );
  await stage.client.until((text) => text.includes("Content-Type: text/event-stream"));
  await rawRequest(stage.proxy.port, "GET /status.ok HTTP/1.1\r\nHost: x\r\n\r\n");
  expect(stage.client.received).not.toContain("\r\n\r\n");
  for (const socket of stage.sandbox.open) socket.write("2\r\nhi\r\n");
  await stage.client.until((text) => text.includes("\r\n\r\n2\r\nhi\r\n"));
});
