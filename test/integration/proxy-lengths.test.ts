import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import type { Socket } from "node:net";

import { eventually } from "../../scripts/lib/eventually.ts";
import { startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { headerValues, openRaw, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { WHOLE_ANSWER_MAX_BYTES } from "../../src/proxy/http/answer-length.ts";
import { createHurriedClock } from "../support/hurried-clock.ts";
import { type Answerer, startRawUpstream } from "../support/raw-upstream.ts";

const MIB = 1024 * 1024;
/** A clock at a hundredth of the speed, so that quick answers are quick on a busy machine too. */
const LENIENT = { clock: createHurriedClock(0.01) };
const LENGTH_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: ";

async function startStage(answer: string | Answerer, ...[config, parts]: Parameters<typeof startProxy>) {
  const stack = new AsyncDisposableStack();
  const sandbox = stack.use(await startRawUpstream(answer));
  const proxy = stack.use(startProxy(config, parts));
  proxy.provider.set({ name: "sb" });
  const head = (method = "GET", path = "/") =>
    `${method} ${path} HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${sandbox.port}\r\n\r\n`;
  return { sandbox, proxy, head, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

/** Sends as many bytes as the path of the request says. */
const sendSized: Answerer = (socket, { line }) => {
  const length = Number(line.split("/")[1]?.split(" ")[0]);
  socket.write(`${LENGTH_HEAD}${length}\r\n\r\n`);
  socket.write(Buffer.alloc(length, "0123456789"));
};

const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

describe("an answer of known length", () => {
  test.each([0, 1, 65_536, MIB, MIB + 1, WHOLE_ANSWER_MAX_BYTES - 1, WHOLE_ANSWER_MAX_BYTES])(
    "relayAnswer keeps the length of an answer of %d bytes",
    async (length) => {
      await using stage = await startStage(sendSized, {}, LENIENT);
      const answer = await fetch(`http://127.0.0.1:${stage.proxy.port}/${length}`, {
        headers: { "OpenSandbox-Ingress-To": `sb-${stage.sandbox.port}` },
      });
      expect(answer.headers.get("content-length")).toBe(String(length));
      expect(answer.headers.get("transfer-encoding")).toBeNull();
      expect(digest(await answer.bytes())).toBe(digest(Buffer.alloc(length, "0123456789")));
      await eventually(() => stage.proxy.server.counters().heldBytes === 0);
    },
  );

  test("relayAnswer streams an answer that is one byte too long to be kept whole, and holds nothing of it", async () => {
    await using stage = await startStage(sendSized, {}, LENIENT);
    const length = WHOLE_ANSWER_MAX_BYTES + 1;
    const answer = await fetch(`http://127.0.0.1:${stage.proxy.port}/${length}`, {
      headers: { "OpenSandbox-Ingress-To": `sb-${stage.sandbox.port}` },
    });
    expect(answer.headers.get("content-length")).toBeNull();
    expect(digest(await answer.bytes())).toBe(digest(Buffer.alloc(length, "0123456789")));
  });

  test.each<[string, number, number]>([
    ["the first byte of ten", 1, 10],
    ["all but the last byte", 9, 10],
    ["all but the last byte of a mebibyte", MIB - 1, MIB],
    ["nearly all of the largest", WHOLE_ANSWER_MAX_BYTES - 1, WHOLE_ANSWER_MAX_BYTES],
  ])("relayAnswer holds %s back for at most a second, although the rest never comes", async (_what, sent, length) => {
    await using stage = await startStage((socket) => {
      socket.write(`${LENGTH_HEAD}${length}\r\n\r\n`);
      socket.write(Buffer.alloc(sent, "x"));
    });
    const answer = await fetch(`http://127.0.0.1:${stage.proxy.port}/`, {
      headers: { "OpenSandbox-Ingress-To": `sb-${stage.sandbox.port}` },
    });
    let got = 0;
    const body: ReadableStream<Uint8Array> | null = answer.body;
    const reader = body?.getReader();
    while (got < sent) got += (await reader?.read())?.value?.byteLength ?? Number.NaN;
    expect(got).toBe(sent);
    expect(stage.proxy.server.counters().heldBytes).toBe(0);
    await reader?.cancel();
    await eventually(() => stage.proxy.server.inFlight() === 0);
  });

  test("relayAnswer streams a slow answer: its first bytes come long before its last", async () => {
    let sent = 0;
    const drips = new Set<Timer>();
    await using stage = await startStage((socket) => {
      socket.write(`${LENGTH_HEAD}100000\r\n\r\n`);
      drips.add(setInterval(() => void (socket.write("x"), sent++), 5));
    });
    const client = await openRaw(stage.proxy.port);
    client.write(stage.head());
    await client.until((text) => /\r\n\r\n[\da-f]+\r\nx/.test(text));
    for (const drip of drips) clearInterval(drip);
    expect(sent).toBeLessThan(100_000);
    expect(client.received).toContain("Transfer-Encoding: chunked\r\n");
    client.destroy();
  });

  test("relayAnswer streams answers that the memory account refuses, and keeps the length of those that it grants", async () => {
    await using stage = await startStage(sendSized, { budgetBytes: 32 * MIB }, LENIENT);
    const lengthOf = async (bytes: number) => {
      const answer = await rawRequest(stage.proxy.port, stage.head("GET", `/${bytes}`));
      expect(answer.body.length).toBe(bytes);
      return headerValues(answer, "content-length");
    };
    // Half of what is free is a sandbox's fair share.
    expect(await lengthOf(17 * MIB)).toEqual([]);
    expect(await lengthOf(4 * MIB)).toEqual([String(4 * MIB)]);
  });

  test("relayAnswer keeps the length of answers although another sandbox has filled its part of the account", async () => {
    await using stage = await startStage(
      (socket, request) => {
        if (request.line.includes("/hoard")) socket.write(`${LENGTH_HEAD}${12 * MIB}\r\n\r\n`);
        else sendSized(socket, request);
      },
      { budgetBytes: 32 * MIB },
      // The test waits for the hoarded answers all the time.
      LENIENT,
    );
    stage.proxy.provider.set({ name: "greedy" });
    const greedy = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const client = await openRaw(stage.proxy.port);
        client.write(stage.head("GET", "/hoard").replace("To: sb", "To: greedy"));
        return client;
      }),
    );
    await eventually(() => stage.sandbox.requests.length === greedy.length);
    await eventually(() => stage.proxy.server.counters().heldBytes === 12 * MIB);
    const answer = await rawRequest(stage.proxy.port, stage.head("GET", `/${4 * MIB}`));
    expect([headerValues(answer, "content-length"), answer.body.length]).toEqual([[String(4 * MIB)], 4 * MIB]);
    for (const client of greedy) client.destroy();
  });
});

describe("a sandbox that lies about its lengths", () => {
  const MORE = "HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: 5\r\n\r\nfalse";

  test.each<[string, string, string]>([
    ["more than its length", "GET", `${LENGTH_HEAD}4\r\n\r\ntrue${MORE}`],
    ["a second answer in the same packet as an empty one", "GET", `${LENGTH_HEAD}0\r\n\r\n${MORE}`],
    ["a body to HEAD", "HEAD", `${LENGTH_HEAD}4\r\n\r\ntrue${MORE}`],
    ["a body behind 204", "GET", `HTTP/1.1 204 No Content\r\n\r\n${MORE}`],
    ["a body behind 304", "GET", `HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\ntrue${MORE}`],
  ])("the next request never gets what came after an answer: %s", async (_what, method, bytes) => {
    let isFirst = true;
    await using stage = await startStage((socket: Socket) => {
      socket.write(isFirst ? bytes : `${LENGTH_HEAD}4\r\n\r\nreal`);
      isFirst = false;
    });
    const first = await rawRequest(stage.proxy.port, stage.head(method), { head: method === "HEAD" });
    expect([first.status, first.body]).toEqual([
      Number(bytes.slice(9, 12)),
      method === "HEAD" || !bytes.startsWith(LENGTH_HEAD) || bytes.startsWith(`${LENGTH_HEAD}0`) ? "" : "true",
    ]);
    for (const next of ["GET", "POST"]) {
      const answer = await rawRequest(stage.proxy.port, stage.head(next));
      expect([answer.status, answer.body]).toEqual([200, "real"]);
    }
  });

  test.each([
    "+4",
    "0x4",
    "4.0",
    "4 4",
    "4,5",
    "4, 5",
    "-4",
    "1e1",
    "18446744073709551620",
    "99999999999999999999999",
    "٤",
  ])("relayAnswer never cleanly ends an answer whose length is %j", async (length) => {
    await using stage = await startStage((socket) => {
      socket.end(Buffer.from(`${LENGTH_HEAD}${length}\r\n\r\ntrue!`));
    });
    const client = await openRaw(stage.proxy.port);
    client.write(stage.head());
    const answer = await client.readAnswer().catch(() => undefined);
    expect([undefined, 502]).toContain(answer?.status);
    client.destroy();
  });
});

describe("a transfer coding", () => {
  const HANDSHAKE = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  ].join("\r\n");

  // Bun takes off what it knows, and gives the rest as if it were the content.
  test.each([
    ["chunked", 401],
    ["Chunked", 401],
    ["gzip, chunked", 502],
    ["deflate,chunked", 502],
    ["xchunked", 502],
    ["chunked, chunked", 502],
    ["chunked, gzip", 502],
  ])("rewriteResponseHeaders: %s is %d, of an answer as of a refused handshake", async (coding, status) => {
    const answer = `HTTP/1.1 401 No\r\nContent-Type: t/x\r\nTransfer-Encoding: ${coding}\r\n\r\n2\r\nok\r\n0\r\n\r\n`;
    await using stage = await startStage((socket) => void socket.end(answer));
    for (const request of [stage.head(), stage.head().replace("\r\n\r\n", `\r\n${HANDSHAKE}\r\n\r\n`)]) {
      const told = await rawRequest(stage.proxy.port, request);
      expect(told.status).toBe(status);
      if (status === 401) expect(told.body).toBe("ok");
    }
    await eventually(() => stage.proxy.server.inFlight() === 0);
  });

  test("rewriteResponseHeaders takes identity beside a length for nothing", async () => {
    await using stage = await startStage(`${LENGTH_HEAD}2\r\nTransfer-Encoding: identity\r\n\r\nok`);
    expect((await rawRequest(stage.proxy.port, stage.head())).body).toBe("ok");
  });
});

describe("an answer to HEAD", () => {
  test.each([0, 4, WHOLE_ANSWER_MAX_BYTES + 1, 10 ** 15])("relayAnswer keeps the length of %d", async (length) => {
    await using stage = await startStage(`${LENGTH_HEAD}${length}\r\n\r\n`);
    const client = await openRaw(stage.proxy.port);
    // Twice over one connection, so that a body that is awaited or sent would show.
    for (let round = 0; round < 2; round++) {
      client.write(stage.head("HEAD"));
      const answer = await client.readAnswer({ head: true });
      expect([answer.status, headerValues(answer, "content-length")]).toEqual([200, [String(length)]]);
      expect(headerValues(answer, "transfer-encoding")).toEqual([]);
    }
    expect(client.received).toBe("");
    client.destroy();
    expect(stage.proxy.server.counters().heldBytes).toBe(0);
  });

  test.each([
    [["7", "7"], 401],
    [["7", "8"], 502],
    [["+7"], 502],
    [["-7"], 502],
    [["0x7"], 502],
    [["seven"], 502],
    [["7 7"], 502],
    [[""], 502],
    [["18446744073709551623"], 502],
  ] as const)("relayAnswer: a refused handshake with the lengths %p is %d", async (lengths, status) => {
    const lines = lengths.map((length) => `Content-Length: ${length}\r\n`).join("");
    const refusal = `HTTP/1.1 401 No\r\nContent-Type: t/x\r\n${lines}\r\nrefused!`;
    await using stage = await startStage((socket) => void socket.end(refusal));
    const upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";
    const handshake = `${upgrade}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n`;
    const answer = await rawRequest(stage.proxy.port, stage.head().replace("\r\n\r\n", `\r\n${handshake}\r\n`));
    expect(answer.status).toBe(status);
    if (status === 401) expect([answer.body, headerValues(answer, "content-length")]).toEqual(["refused", ["7"]]);
    await eventually(() => stage.proxy.server.inFlight() === 0);
  });

  // A length that is said twice reaches us as a list, which Bun would send as 0.
  test.each([
    ["HEAD", "200 OK", ["7", "7"], "7"],
    ["HEAD", "200 OK", ["7", "8"], undefined],
    ["GET", "304 Not Modified", ["7", "7"], "7"],
    ["GET", "304 Not Modified", ["8", "7"], undefined],
  ] as const)("relayAnswer: %s, %s, two lengths: %p", async (method, status, lengths, expected) => {
    const lines = lengths.map((length) => `Content-Length: ${length}\r\n`).join("");
    await using stage = await startStage(`HTTP/1.1 ${status}\r\n${lines}\r\n`);
    const answer = await rawRequest(stage.proxy.port, stage.head(method), { head: method === "HEAD" });
    expect(answer.status).toBe(expected === undefined ? 502 : Number(status.slice(0, 3)));
    if (expected !== undefined) expect(headerValues(answer, "content-length")).toEqual([expected]);
    expect(stage.proxy.server.inFlight()).toBe(0);
  });
});
