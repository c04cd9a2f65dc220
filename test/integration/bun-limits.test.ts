import { describe, expect, test } from "bun:test";

import { eventually } from "../../scripts/lib/eventually.ts";
import { startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { OPCODE, openRawWebSocket } from "../../scripts/lib/stage/raw-websocket.ts";
import { IDLE_PLACES } from "../../src/proxy/upstream/idle-places.ts";
import { type RawUpstream, startRawUpstream } from "../support/raw-upstream.ts";
import { startWebSocketSandbox } from "../support/websocket-sandbox.ts";

async function startStage(answer: Parameters<typeof startRawUpstream>[0]) {
  const stack = new AsyncDisposableStack();
  const sandbox = stack.use(await startRawUpstream(answer));
  const proxy = stack.use(startProxy());
  proxy.provider.set({ name: "sb" });
  const head = (method: string, extra: string) =>
    `${method} / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${sandbox.port}\r\n${extra}\r\n`;
  return { sandbox, proxy, head, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

const OK = "HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: 2\r\n\r\nok";

/** What docs/limits.md says that Bun decides. Where one fails, Bun has changed, and the document can lose a line. */
describe("what Bun decides", () => {
  test.each([
    ["100-continue", true],
    ["100-Continue", false],
  ] as const)("Bun answers Expect: %s with 100: %p; the body is taken either way", async (value, isContinued) => {
    await using stage = await startStage(OK);
    const client = await openRaw(stage.proxy.port);
    client.write(stage.head("POST", `Expect: ${value}\r\nContent-Length: 2\r\n`));
    if (isContinued) await client.until((text) => text.startsWith("HTTP/1.1 100 Continue\r\n\r\n"));
    else await rawRequest(stage.proxy.port, "GET /status.ok HTTP/1.1\r\nHost: x\r\n\r\n");
    if (!isContinued) expect(client.received).toBe("");
    client.write("hi");
    expect((await client.readAnswer()).status).toBe(200);
    expect(stage.sandbox.requests.map(({ body }) => body)).toEqual(["hi"]);
    client.destroy();
  });

  test("Bun answers a line end behind a body with 400, though the sandbox has the request", async () => {
    // Silent until the fault has come.
    await using stage = await startStage(() => {});
    const client = await openRaw(stage.proxy.port);
    client.write(stage.head("POST", "Content-Length: 2\r\n") + "{}");
    await eventually(() => stage.sandbox.requests.length === 1);
    client.write("\r\n");
    expect(await client.closed()).toStartWith("HTTP/1.1 400 ");
    expect(stage.sandbox.requests.map(({ body }) => body)).toEqual(["{}"]);
  });

  test.each(["GET", "HEAD"])(
    "Bun tells an empty chunked body of %s from a lost one by nothing: 400",
    async (method) => {
      await using stage = await startStage(OK);
      for (const chunks of ["0\r\n\r\n", "4\r\nlost\r\n0\r\n\r\n"]) {
        const request = stage.head(method, "Transfer-Encoding: chunked\r\n") + chunks;
        expect((await rawRequest(stage.proxy.port, request, { head: method === "HEAD" })).status).toBe(400);
      }
      expect(stage.sandbox.requests).toEqual([]);
      const empty = stage.head(method, "Content-Length: 0\r\n");
      expect((await rawRequest(stage.proxy.port, empty, { head: method === "HEAD" })).status).toBe(200);
    },
  );

  test("Bun answers a client's ping by itself, whether the sandbox answers it or not", async () => {
    await using sandbox = await startWebSocketSandbox();
    await using proxy = startProxy();
    proxy.provider.set({ name: "sb" });
    const client = await openRawWebSocket(proxy.port, "/", {
      extra: `OpenSandbox-Ingress-To: sb-${sandbox.port}\r\n`,
    });
    const [end] = sandbox.ends;
    const got: Buffer[] = [];
    end?.on("data", (data: Buffer) => got.push(data));
    client.send(OPCODE.ping, "there?");
    const frame = await client.frames.next();
    expect([frame?.opcode, frame?.payload.toString()]).toEqual([OPCODE.pong, "there?"]);
    // The sandbox has it, too, and does not answer.
    await eventually(() => ((Buffer.concat(got)[0] ?? 0) & 0x0f) === OPCODE.ping);
    client.socket.destroy();
  });

  test.each([
    [IDLE_PLACES, 0],
    [IDLE_PLACES + 1, IDLE_PLACES + 1],
  ])("Bun keeps 64 idle connections and closes the oldest: %d servers in turn open %d again", async (count, opened) => {
    await using stack = new AsyncDisposableStack();
    const servers: RawUpstream[] = [];
    for (let n = 0; n < count; n++) servers.push(stack.use(await startRawUpstream(OK)));
    const askInTurn = async (): Promise<void> => {
      for (const { port } of servers) await (await fetch(`http://127.0.0.1:${port}/`, { proxy: false })).text();
    };
    const total = (): number => servers.reduce((sum, { connections }) => sum + connections, 0);
    await askInTurn();
    const before = total();
    await askInTurn();
    expect(total() - before).toBe(opened);
  });
});
