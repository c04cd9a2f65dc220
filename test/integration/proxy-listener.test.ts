import { expect, test } from "bun:test";

import { createListener, type Listener } from "../../src/proxy/listener.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { openRaw, type RawConnection, rawRequest } from "../../scripts/lib/stage/raw-client.ts";

const GET = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const GET_SLOW = "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";

/** A server whose slow answers wait for `release`, and whose WebSockets echo. */
function startListener() {
  const gate = Promise.withResolvers<void>();
  const requests: Request[] = [];
  const listener = createListener({ port: 0 }, ({ port }) =>
    Bun.serve({
      hostname: "127.0.0.1",
      port,
      reusePort: false,
      idleTimeout: 4,
      async fetch(request, server) {
        if (server.upgrade(request)) return undefined;
        requests.push(request);
        if (request.url.endsWith("/slow")) await gate.promise;
        return new Response("here");
      },
      websocket: { message: (client, data) => void client.send(data) },
    }),
  );
  const port = listener.start();
  const dispose = async (): Promise<void> => {
    gate.resolve();
    await listener.stopNow();
  };
  return { listener, port, requests, release: () => gate.resolve(), [Symbol.asyncDispose]: dispose };
}

/** A request whose answer waits, once it has arrived. */
async function openSlow({ port, requests }: ReturnType<typeof startListener>): Promise<RawConnection> {
  const before = requests.length;
  const slow = await openRaw(port);
  slow.write(GET_SLOW);
  await eventually(() => requests.length > before);
  return slow;
}

const isRefused = async (port: number): Promise<boolean> => {
  try {
    (await openRaw(port)).destroy();
    return false;
  } catch {
    return true;
  }
};

async function openEcho(port: number): Promise<{ echo: (text: string) => Promise<unknown>; socket: WebSocket }> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
  await new Promise((resolve) => socket.addEventListener("open", resolve));
  const echo = (text: string) =>
    new Promise((resolve) => {
      socket.addEventListener("message", ({ data }) => resolve(data), { once: true });
      socket.send(text);
    });
  return { echo, socket };
}

test("Listener.pause refuses new connections, closes idle ones and lets requests and WebSockets go on", async () => {
  await using stage = startListener();
  const { listener, port } = stage;
  const idle = await openRaw(port);
  idle.write(GET);
  expect((await idle.readAnswer()).body).toBe("here");
  const slow = await openSlow(stage);
  const { echo, socket } = await openEcho(port);

  listener.pause();
  expect(listener.isAccepting).toBe(false);
  await idle.closed();
  expect(await isRefused(port)).toBe(true);
  expect(await echo("paused")).toBe("paused");

  listener.resume();
  expect(listener.isAccepting).toBe(true);
  expect((await rawRequest(port, GET)).body).toBe("here");
  expect(await echo("resumed")).toBe("resumed");
  stage.release();
  expect((await slow.readAnswer()).body).toBe("here");
  socket.close();
});

test("Listener.timeout resets the timer of a request that came before a pause", async () => {
  await using stage = startListener();
  const { listener, requests } = stage;
  const slow = await openSlow(stage);
  listener.pause();
  listener.resume();
  // Nobody resets the timer of this one. When its idle time cuts it, the other has outlived its own.
  const other = await openSlow(stage);
  const [request] = requests;
  if (request !== undefined) listener.timeout(request, 60);
  await other.closed();
  await eventually(() => !slow.isClosed);
  stage.release();
  expect((await slow.readAnswer()).body).toBe("here");
}, 30_000);

test("Listener.pause does nothing while sixteen earlier pauses are unfinished, and works again when one ends", async () => {
  await using stage = startListener();
  const { listener, port } = stage;
  const sockets: WebSocket[] = [];
  for (let pauses = 0; pauses < 16; pauses++) {
    sockets.push((await openEcho(port)).socket);
    listener.pause();
    expect(listener.isAccepting).toBe(false);
    listener.resume();
  }
  listener.pause();
  expect(listener.isAccepting).toBe(true);
  expect((await rawRequest(port, GET)).body).toBe("here");
  sockets[0]?.close();
  await eventually(() => {
    listener.pause();
    return !listener.isAccepting;
  });
  for (const socket of sockets) socket.close();
});

test("Listener.stop waits for requests from before a pause, and nothing opens the port again", async () => {
  await using stage = startListener();
  const { listener, port } = stage;
  const slow = await openSlow(stage);
  listener.pause();
  listener.resume();
  let isOver = false;
  const stopped = listener.stop().then(() => (isOver = true));
  tryAll(listener);
  expect(await isRefused(port)).toBe(true);
  expect(isOver).toBe(false);
  stage.release();
  expect((await slow.readAnswer()).body).toBe("here");
  await stopped;
});

test("Listener.stopNow cuts requests from before a pause", async () => {
  await using stage = startListener();
  const { listener, port } = stage;
  const slow = await openSlow(stage);
  listener.pause();
  await listener.stopNow();
  await slow.closed();
  tryAll(listener);
  expect(await isRefused(port)).toBe(true);
});

test("Listener does nothing before it has been started", async () => {
  const listener = createListener({ port: 0 }, () => {
    throw new Error("not to be opened");
  });
  tryAll(listener);
  expect([listener.isAccepting, listener.closeIdle()]).toEqual([false, 0]);
  await listener.stop();
});

/** Every effect that a check of descriptors may have. */
function tryAll(listener: Listener): void {
  listener.pause();
  listener.resume();
  listener.closeIdle();
}
