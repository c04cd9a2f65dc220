import { describe, expect, test } from "bun:test";

import { eventually } from "../../scripts/lib/eventually.ts";
import { startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { startRawUpstream } from "../support/raw-upstream.ts";

/** A proxy with the flag in front of a sandbox that sends only these bytes, and the client's connection. */
async function startSilent(bytes: string, { method = "GET", streamEarlyNewline = true } = {}) {
  const proxy = startProxy({ streamEarlyNewline });
  proxy.provider.set({ name: "sb" });
  const sandbox = await startRawUpstream(bytes);
  const client = await openRaw(proxy.port);
  client.write(`${method} / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${sandbox.port}\r\n\r\n`);
  await eventually(() => sandbox.requests.length === 1);
  return {
    proxy,
    sandbox,
    client,
    /** Sends more, and ends the sandbox's answer with it. */
    say(text: string): void {
      for (const socket of sandbox.open) socket.end(text, "latin1");
    },
    async [Symbol.asyncDispose]() {
      client.destroy();
      await proxy[Symbol.asyncDispose]();
      await sandbox[Symbol.asyncDispose]();
    },
  };
}

const head = (extra = "", type = "text/event-stream", status = "200 OK"): string =>
  `HTTP/1.1 ${status}\r\nContent-Type: ${type}\r\n${extra}\r\n`;

const bodyOf = (received: string): string => received.slice(received.indexOf("\r\n\r\n") + 4);

/** The data of the events of a stream, as WHATWG HTML §9.2.6 reads them. */
function parseEvents(bytes: string): string[] {
  const text = new TextDecoder().decode(Buffer.from(bytes, "latin1"));
  const events: string[] = [];
  let data: string[] = [];
  for (const line of text.split("\n")) {
    if (line === "" && data.length > 0) {
      events.push(data.join("\n"));
      data = [];
    }
    if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
  }
  return events;
}

describe("--stream-early-newline", () => {
  test.each([
    ["plain", head()],
    ["with parameters and capitals", head("", "Text/Event-Stream; charset=utf-8")],
  ])("relayStream sends the head of a silent event stream with one line feed: %s", async (_name, bytes) => {
    await using stage = await startSilent(bytes);
    await stage.client.until((text) => text.includes("\r\n\r\n1\r\n\n\r\n"));
    stage.say("data: one\n\ndata: two\n\n");
    const answer = await stage.client.readAnswer();
    expect(answer.body).toBe("\ndata: one\n\ndata: two\n\n");
    expect(parseEvents(answer.body)).toEqual(["one", "two"]);
  });

  test("relayStream drops a byte order mark after its line feed, since it would spoil the first event", async () => {
    await using stage = await startSilent(head());
    await stage.client.until((text) => text.includes("\r\n\r\n1\r\n\n\r\n"));
    stage.say("\xef\xbb\xbfdata: one\n\n");
    expect((await stage.client.readAnswer()).body).toBe("\ndata: one\n\n");
  });

  test.each([
    [["\xef\xbb\xbf", "data: one\n\n"], "data: one\n\n"],
    [["\xef", "\xbb\xbfdata: one\n\n"], "data: one\n\n"],
    [["\xef", "\xbb", "\xbf", "data: one\n\n"], "data: one\n\n"],
    [["\xef\xbb", "\xbf"], ""],
    [["\xef\xbb", "\xbf\xef\xbb\xbf"], "\xef\xbb\xbf"],
    [["\xef", "\xbb", "\xbe"], "\xef\xbb\xbe"],
    [["\xef\xbb"], "\xef\xbb"],
    [["d", "\xef\xbb\xbf"], "d\xef\xbb\xbf"],
  ])("relayStream drops only one byte order mark, in any pieces: %j", async (pieces, expected) => {
    await using stage = await startSilent(head("Transfer-Encoding: chunked\r\n"));
    await stage.client.until((text) => text.includes("\r\n\r\n1\r\n\n\r\n"));
    for (const piece of pieces) {
      for (const socket of stage.sandbox.open) socket.write(`${piece.length.toString(16)}\r\n${piece}\r\n`, "latin1");
      // Another silent stream gets its line feed meanwhile, so that each piece is read by itself.
      await using witness = await startSilent(head());
      await witness.client.until((text) => text.includes("\r\n\r\n1\r\n\n\r\n"));
    }
    stage.say("0\r\n\r\n");
    expect((await stage.client.readAnswer()).body).toBe(`\n${expected}`);
  });

  test("relayStream adds nothing after the first byte of the sandbox, however long it is silent then", async () => {
    await using stage = await startSilent(`${head()}data: o`);
    await stage.client.until((text) => text.includes("data: o"));
    // Another silent stream gets its line feed meanwhile.
    const other = await startSilent(head());
    await other.client.until((text) => text.includes("\r\n\r\n1\r\n\n\r\n"));
    await other[Symbol.asyncDispose]();
    stage.say("ne\n\n");
    expect((await stage.client.readAnswer()).body).toBe("data: one\n\n");
  });

  test.each([
    ["a length", head("Content-Length: 11\r\n")],
    ["an ETag", head('ETag: "a"\r\n')],
    ["a Digest", head("Digest: sha-256=x\r\n")],
    ["a Content-Digest", head("Content-Digest: sha-256=:x:\r\n")],
    ["a Repr-Digest", head("Repr-Digest: sha-256=:x:\r\n")],
    ["an encoding", head("Content-Encoding: gzip\r\n")],
    ["another type", head("", "text/plain")],
    ["another type that begins alike", head("", "text/event-stream-x")],
    ["another status", head("", "text/event-stream", "201 Created")],
  ])("relayStream does not change a silent answer with %s", async (_name, bytes) => {
    await using stage = await startSilent(bytes);
    await using witness = await startSilent(head());
    await witness.client.until((text) => text.includes("\r\n\r\n1\r\n\n\r\n"));
    stage.say("data: one\n\n");
    expect((await stage.client.readAnswer()).body).toBe("data: one\n\n");
  });

  test("relayStream adds nothing without the flag", async () => {
    await using stage = await startSilent(head(), { streamEarlyNewline: false });
    await using witness = await startSilent(head());
    await witness.client.until((text) => text.includes("\r\n\r\n1\r\n\n\r\n"));
    stage.say("data: one\n\n");
    expect((await stage.client.readAnswer()).body).toBe("data: one\n\n");
  });

  test("relayAnswer adds nothing to the answer to HEAD", async () => {
    await using stage = await startSilent(head("Connection: close\r\n"), { method: "HEAD" });
    const answer = await stage.client.readAnswer({ head: true });
    stage.client.write("GET /status.ok HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    expect([answer.status, bodyOf(await stage.client.closed())]).toEqual([200, "OK"]);
  });

  test("relayStream visibly cuts a stream if its sandbox fails after the line feed, and ends with its client", async () => {
    await using stage = await startSilent(head("Transfer-Encoding: chunked\r\n"));
    await stage.client.until((text) => text.includes("\r\n\r\n1\r\n\n\r\n"));
    for (const socket of stage.sandbox.open) socket.destroy();
    expect(await stage.client.closed()).not.toContain("0\r\n\r\n");
    await using left = await startSilent(head());
    await left.client.until((text) => text.includes("\r\n\r\n1\r\n\n\r\n"));
    left.client.destroy();
    await eventually(() => left.sandbox.open.size === 0 && left.proxy.server.inFlight() === 0);
    expect(left.proxy.accessLog.at(-1)).toMatchObject({ code: "client_closed", bytesOut: 1 });
    expect((await rawRequest(left.proxy.port, "GET /status.ok HTTP/1.1\r\nHost: x\r\n\r\n")).status).toBe(200);
  });

  test("relayStream sends only one line feed, however long the sandbox stays silent", async () => {
    await using stage = await startSilent(head());
    await stage.client.until((text) => text.includes("\r\n\r\n1\r\n\n\r\n"));
    // Waits as long again as the first one took.
    await using witness = await startSilent(head());
    await witness.client.until((text) => text.includes("\r\n\r\n1\r\n\n\r\n"));
    stage.say("data: one\n\n");
    expect((await stage.client.readAnswer()).body).toBe("\ndata: one\n\n");
  });

  test("relayStream sends nothing for a client that leaves before its line feed, and ends at the sandbox", async () => {
    await using stage = await startSilent(head());
    await stage.client.until((text) => text.startsWith("HTTP/1.1 200"));
    stage.client.destroy();
    await eventually(() => stage.sandbox.open.size === 0 && stage.proxy.server.inFlight() === 0);
    expect(stage.proxy.accessLog.map(({ code }) => code)).toEqual(["client_closed"]);
    // Nothing of it is left to reach the next request.
    expect((await rawRequest(stage.proxy.port, "GET /status.ok HTTP/1.1\r\nHost: x\r\n\r\n")).body).toBe("OK");
  });

  test.each([true, false])(
    "relayStream never ends a stream cleanly if its sandbox dies before the line feed (flag: %p)",
    async (streamEarlyNewline) => {
      await using stage = await startSilent(head("Transfer-Encoding: chunked\r\n"), { streamEarlyNewline });
      await stage.client.until((text) => text.startsWith("HTTP/1.1 200"));
      for (const socket of stage.sandbox.open) socket.destroy();
      const received = await stage.client.closed();
      expect(received).not.toContain("\r\n0\r\n");
      await eventually(() => stage.proxy.server.inFlight() === 0);
      expect(stage.proxy.accessLog.map(({ code }) => code)).toEqual(["upstream_reset"]);
    },
  );

  test("relayStream ends a stream cleanly, without a line feed, if its sandbox ends it at once", async () => {
    await using stage = await startSilent(`${head("Transfer-Encoding: chunked\r\n")}0\r\n\r\n`);
    const answer = await stage.client.readAnswer();
    expect([answer.status, answer.body]).toEqual([200, ""]);
  });
});
