import { expect, setDefaultTimeout, test } from "bun:test";
import { eventually } from "../../scripts/lib/eventually.ts";
import { startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw, type RawConnection } from "../../scripts/lib/stage/raw-client.ts";
import { STALLED_DOWNLOAD_BYTES } from "../../src/proxy/exchange/stalled-sizes.ts";
import { END_HEADERS, END_STREAM, FRAME, frame, PREFACE, requestHead } from "../support/http2-frames.ts";
import { startRawUpstream } from "../support/raw-upstream.ts";

setDefaultTimeout(60_000);

const STREAMS = 4;
/** More than any buffer takes, of unknown length. */
const ENDLESS = `HTTP/1.1 200 OK\r\nContent-Type: t/x\r\n\r\n${"x".repeat(8 * 1024 * 1024)}`;

/** A connection with streams whose answers are never read: their windows stay as they were (RFC 9113 §6.9). */
async function openUnread(port: number, route: string): Promise<RawConnection> {
  const connection = await openRaw(port);
  connection.write(PREFACE);
  for (let at = 0; at < STREAMS; at++) {
    const head = { flags: END_STREAM | END_HEADERS, stream: 2 * at + 1, payload: requestHead("/", route) };
    connection.write(frame(FRAME.headers, head));
  }
  return connection;
}

test("--http2 counts answers that were cut until Bun lets go of them, and ends the connection of a client that reads nothing", async () => {
  await using sandbox = await startRawUpstream(ENDLESS);
  await using proxy = startProxy({
    http2: true,
    maxRequestsPerSandbox: STREAMS,
    streamIdleTimeoutMs: 300,
    // Four such answers leave no fair share.
    budgetBytes: 2 * STREAMS * STALLED_DOWNLOAD_BYTES,
  });
  for (const name of ["sb", "beside"]) proxy.provider.set({ name });
  const connection = await openUnread(proxy.port, `sb-${sandbox.port}`);
  await eventually(() => proxy.server.counters().heldBytes === STREAMS * STALLED_DOWNLOAD_BYTES);
  // They have been cut, but Bun has what it got of them.
  await eventually(() => sandbox.open.size === 0);
  expect([proxy.server.inFlight(), connection.isClosed]).toEqual([STREAMS, false]);
  expect(proxy.server.counters().heldBytes).toBe(STREAMS * STALLED_DOWNLOAD_BYTES);
  const ask = async (name: string): Promise<number> => {
    const headers = { "OpenSandbox-Ingress-To": `${name}-${sandbox.port}` };
    const answer = await fetch(`http://127.0.0.1:${proxy.port}/`, { headers });
    await answer.body?.cancel();
    return answer.status;
  };
  expect(await ask("sb")).toBe(503);
  expect(await ask("beside")).toBe(200);
  await eventually(() => connection.isClosed);
  await eventually(() => expect(proxy.server.counters()).toMatchObject({ exchanges: 0, heldBytes: 0 }));
  expect(proxy.accessLog.filter(({ code }) => code === "upstream_timeout")).toHaveLength(STREAMS);
  expect(await ask("sb")).toBe(200);
});

test("--http2 ends an answer that was cut when its client resets the stream, and the connection goes on", async () => {
  await using sandbox = await startRawUpstream(ENDLESS);
  await using proxy = startProxy({ http2: true, streamIdleTimeoutMs: 300 });
  proxy.provider.set({ name: "sb" });
  const connection = await openUnread(proxy.port, `sb-${sandbox.port}`);
  await eventually(() => proxy.server.counters().heldBytes === STREAMS * STALLED_DOWNLOAD_BYTES);
  await eventually(() => sandbox.open.size === 0);
  const cancel = Buffer.from([0, 0, 0, 8]);
  for (let at = 0; at < STREAMS; at++) {
    connection.write(frame(FRAME.reset, { stream: 2 * at + 1, payload: cancel }));
  }
  await eventually(() => proxy.server.inFlight() === 0);
  expect(connection.isClosed).toBe(false);
  connection.destroy();
});
