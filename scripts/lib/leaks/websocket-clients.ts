import { buildFrame, closePayload, OPCODE } from "../stage/raw-websocket.ts";
import type { ClientLine } from "./client-line.ts";
import { type ClientPlan, type RudeClient, stay, stayUntil } from "./rude-clients.ts";

const KIB = 1024;

const frame = (opcode: number, payload: string | Buffer, options: { readonly fin?: boolean } = {}): Buffer =>
  buildFrame(opcode, payload, { masked: true, ...options });

/** Sends the handshake and goes on where it was accepted; else it reads a refusal until it has to leave. */
const upgrader = (name: string, then: (line: ClientLine, plan: ClientPlan) => Promise<void>): RudeClient => ({
  name: `upgrades and ${name}`,
  async act(line, plan) {
    await line.write(plan.handshake);
    await stayUntil(line, plan, () => line.start.includes("\r\n\r\n"));
    if (line.start.startsWith("HTTP/1.1 101")) await then(line, plan);
    else if (plan.random.integer(2) === 0) await stay(line, plan);
  },
});

/** Clients that ask for a WebSocket. */
export const WEBSOCKET_CLIENTS: readonly RudeClient[] = [
  {
    name: "asks for a WebSocket and leaves at once",
    async act(line, plan) {
      await line.write(plan.handshake);
    },
  },
  {
    name: "asks for a WebSocket and resets at once",
    async act(line, plan) {
      await line.write(plan.handshake);
      line.socket.resetAndDestroy();
    },
  },
  {
    name: "asks for a WebSocket and closes its side",
    async act(line, plan) {
      line.socket.end(plan.handshake);
      await stay(line, plan);
    },
  },
  {
    name: "asks for a WebSocket and never reads",
    async act(line, plan) {
      line.socket.pause();
      await line.write(plan.handshake);
      await stay(line, plan);
    },
  },
  {
    name: "asks for a WebSocket with an invalid key",
    async act(line, plan) {
      await line.write(plan.handshake.replace(/(sec-websocket-key: )\S+/i, "$1short"));
      await stay(line, plan);
    },
  },
  {
    name: "asks for a WebSocket and sends frames before the answer",
    async act(line, plan) {
      const early = Buffer.concat([frame(OPCODE.text, "early"), frame(OPCODE.ping, "early")]);
      await line.write(Buffer.concat([Buffer.from(plan.handshake), early]));
      await stay(line, plan);
    },
  },
  upgrader("leaves", () => Promise.resolve()),
  upgrader("resets", (line) => {
    line.socket.resetAndDestroy();
    return Promise.resolve();
  }),
  upgrader("stays silent", stay),
  upgrader("answers no Close and keeps TCP open", (_line, plan) => plan.leave),
  upgrader("closes its side", async (line, plan) => {
    line.socket.end();
    await stay(line, plan);
  }),
  upgrader("never reads again", async (line, plan) => {
    line.socket.pause();
    await line.write(frame(OPCODE.text, "hello"));
    await stay(line, plan);
  }),
  upgrader("closes orderly", async (line, plan) => {
    await line.write(frame(OPCODE.text, "hello"));
    await line.write(frame(OPCODE.close, closePayload(1000, "done")));
    await stay(line, plan);
  }),
  upgrader("sends Close and goes on", async (line, plan) => {
    await line.write(frame(OPCODE.close, closePayload(1000)));
    await line.writeForever(frame(OPCODE.text, "more"), plan.leave);
  }),
  upgrader("sends Close and leaves", async (line) => line.write(frame(OPCODE.close, closePayload(4001)))),
  upgrader("floods with pings", (line, plan) => {
    return line.writeForever(
      Buffer.concat(Array.from({ length: 100 }, () => frame(OPCODE.ping, "there?"))),
      plan.leave,
    );
  }),
  upgrader("floods with small frames", (line, plan) => {
    return line.writeForever(Buffer.concat(Array.from({ length: 100 }, () => frame(OPCODE.text, "x"))), plan.leave);
  }),
  upgrader("sends large messages", async (line, plan) => {
    const message = frame(OPCODE.binary, Buffer.alloc(512 * KIB));
    for (let n = 0; n < 8 && !line.isClosed; n++) await Promise.race([line.write(message), plan.leave]);
    await stay(line, plan);
  }),
  upgrader("sends more than is allowed", async (line, plan) => {
    void line.write(frame(OPCODE.binary, Buffer.alloc(4 * KIB * KIB)));
    await stay(line, plan);
  }),
  upgrader("never ends its message", async (line, plan) => {
    await line.write(frame(OPCODE.text, "begun", { fin: false }));
    await line.write(frame(OPCODE.binary, Buffer.alloc(100 * KIB)).subarray(0, 60 * KIB));
    await stay(line, plan);
  }),
  upgrader("sends garbage", async (line, plan) => {
    await line.write(Buffer.from(Array.from({ length: 64 }, () => plan.random.integer(256))));
    await stay(line, plan);
  }),
];
