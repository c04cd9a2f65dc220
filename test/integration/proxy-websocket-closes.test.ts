import { expect, test } from "bun:test";

import { eventually } from "../../scripts/lib/eventually.ts";
import { startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { closePayload, openRawWebSocket, OPCODE } from "../../scripts/lib/stage/raw-websocket.ts";
import { type Clock, systemClock } from "../../src/clock.ts";
import { UNANSWERED_CLOSES_MAX } from "../../src/proxy/websocket/unanswered-closes.ts";
import { startWebSocketSandbox } from "../support/websocket-sandbox.ts";

/** Tunnels at a time. */
const OPEN_MAX = 20;

/** Timers of at least this many milliseconds never fire, so that the sandbox's time to answer a Close does not end. */
const TIMERS_BELOW_MS = 5_000;
const patientClock: Clock = {
  ...systemClock,
  setTimer: (delayMs, fire) => (delayMs < TIMERS_BELOW_MS ? systemClock.setTimer(delayMs, fire) : { cancel: () => {} }),
};

/** A proxy and a sandbox. The sandbox never answers a Close and never ends a connection. */
async function startStage() {
  const proxy = startProxy({}, { clock: patientClock });
  proxy.provider.set({ name: "sb" });
  const sandbox = await startWebSocketSandbox();
  const openEnds = (): number => sandbox.ends.filter((end) => !end.destroyed).length;
  return {
    proxy,
    openEnds,
    /** Opens a WebSocket and closes it in an orderly way. */
    async openAndClose() {
      const extra = `OpenSandbox-Ingress-To: sb-${sandbox.port}\r\n`;
      const client = await openRawWebSocket(proxy.port, "/", { extra });
      client.send(OPCODE.close, closePayload(1000));
      const answer = await client.frames.next();
      client.socket.destroy();
      expect(answer?.opcode).toBe(OPCODE.close);
    },
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await sandbox[Symbol.asyncDispose]();
    },
  };
}

test("Tunnel keeps few connections to sandboxes that never answer Close once their clients have left", async () => {
  await using stage = await startStage();
  let most = 0;
  for (let round = 0; round < (2 * UNANSWERED_CLOSES_MAX) / OPEN_MAX; round++) {
    await Promise.all(Array.from({ length: OPEN_MAX }, () => stage.openAndClose()));
    await eventually(() => stage.proxy.server.inFlight() === 0);
    most = Math.max(most, stage.openEnds());
  }
  expect(most).toBeLessThanOrEqual(UNANSWERED_CLOSES_MAX + OPEN_MAX);
});

test("ProxyServer.drain leaves no connection to a sandbox that never answers Close", async () => {
  await using stage = await startStage();
  for (let n = 0; n < 5; n++) await stage.openAndClose();
  await eventually(() => stage.proxy.server.inFlight() === 0);
  await stage.proxy.server.drain(0);
  await eventually(() => stage.openEnds() === 0);
});
