import type { Random } from "../stage/random.ts";
import type { ClientLine } from "./client-line.ts";

const KIB = 1024;

/** What a client asks for. */
export interface ClientPlan {
  readonly random: Random;
  /** The head of a request, without the empty line; `extra`: header lines, each with its line end. */
  head(method: string, extra?: string): string;
  /** The head of a valid handshake, with the empty line. */
  readonly handshake: string;
  /** Resolves when the client has to leave, whatever it waits for. */
  readonly leave: Promise<void>;
}

/** One client with one connection, which is destroyed when `act` resolves. */
export interface RudeClient {
  /** Completes "the client …". */
  readonly name: string;
  act(line: ClientLine, plan: ClientPlan): Promise<void>;
}

/** Until the other side ends the connection, or the client has to leave. */
export async function stay(line: ClientLine, { leave }: ClientPlan): Promise<void> {
  await Promise.race([line.until(() => false), leave]);
}

/** The same, or until something holds. */
export async function stayUntil(line: ClientLine, { leave }: ClientPlan, condition: () => boolean): Promise<void> {
  await Promise.race([line.until(condition), leave]);
}

/** Leaves with FIN or with RST, now, or stays; what a client does at a moment when others would wait for an answer. */
async function depart(line: ClientLine, plan: ClientPlan): Promise<void> {
  const way = plan.random.pick(["leave", "reset", "half-close", "stay", "stop-reading", "cling"]);
  if (way === "leave") return;
  if (way === "reset") return void line.socket.resetAndDestroy();
  if (way === "half-close") line.socket.end();
  if (way === "stop-reading") line.socket.pause();
  await (way === "cling" ? plan.leave : stay(line, plan));
}

const client = (name: string, act: RudeClient["act"]): RudeClient => ({ name, act });

const get = (plan: ClientPlan): string => `${plan.head("GET")}\r\n`;

/** Writes part of an upload, of which the rest never comes. */
const partOfUpload = (plan: ClientPlan): string => {
  const method = plan.random.pick(["POST", "PUT"]);
  const sent = "u".repeat(plan.random.pick([0, 1, 100, 8 * KIB, 64 * KIB, 600 * KIB]));
  if (plan.random.integer(2) === 0)
    return `${plan.head(method, `Content-Length: ${sent.length + 1_000}\r\n`)}\r\n${sent}`;
  const chunk = sent === "" ? "" : `${sent.length.toString(16)}\r\n${sent}\r\n`;
  return `${plan.head(method, "Transfer-Encoding: chunked\r\n")}\r\n${chunk}${plan.random.pick(["", "ff", "ff\r\nhalf"])}`;
};

/** Clients that are orderly, but for a moment perhaps. */
const ORDERLY: readonly RudeClient[] = [
  client("reads its answer to the end", async (line, plan) => {
    await line.write(`${plan.head("GET", "Connection: close\r\n")}\r\n`);
    await stay(line, plan);
  }),
  client("asks with HEAD", async (line, plan) => {
    await line.write(`${plan.head("HEAD")}\r\n`);
    await stayUntil(line, plan, () => line.bytes > 0);
  }),
  client("asks again and again", async (line, plan) => {
    for (let n = 0; n < 3 && !line.isClosed; n++) {
      const before = line.bytes;
      await line.write(get(plan));
      await stayUntil(line, plan, () => line.bytes > before);
    }
    await depart(line, plan);
  }),
  client("sends a small body", async (line, plan) => {
    await line.write(`${plan.head("POST", "Content-Length: 5\r\n")}\r\nhello`);
    await stayUntil(line, plan, () => line.bytes > 0);
    await depart(line, plan);
  }),
  client("uploads two megabytes", async (line, plan) => {
    const body = "u".repeat(2 * KIB * KIB);
    const chunked = plan.random.integer(2) === 0;
    const framing = chunked ? "Transfer-Encoding: chunked\r\n" : `Content-Length: ${body.length}\r\n`;
    const framed = chunked ? `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n` : body;
    void line.write(`${plan.head("PUT", framing)}\r\n${framed}`);
    await stayUntil(line, plan, () => line.bytes > 0);
    await depart(line, plan);
  }),
];

const RUDE: readonly RudeClient[] = [
  client("leaves without a byte", () => Promise.resolve()),
  client("resets without a byte", (line) => {
    line.socket.resetAndDestroy();
    return Promise.resolve();
  }),
  client("sends half a head", async (line, plan) => {
    const head = plan.head("GET");
    await line.write(head.slice(0, 1 + plan.random.integer(head.length - 1)));
    await depart(line, plan);
  }),
  client("leaves behind its head", async (line, plan) => {
    await line.write(get(plan));
    await depart(line, plan);
  }),
  client("resets behind its head", async (line, plan) => {
    await line.write(get(plan));
    line.socket.resetAndDestroy();
  }),
  client("leaves when the answer begins", async (line, plan) => {
    await line.write(get(plan));
    await stayUntil(line, plan, () => line.bytes > 0);
    await depart(line, plan);
  }),
  client("leaves within the answer", async (line, plan) => {
    const enough = plan.random.integer(512 * KIB);
    await line.write(get(plan));
    await stayUntil(line, plan, () => line.bytes > enough);
    await depart(line, plan);
  }),
  client("never reads", async (line, plan) => {
    line.socket.pause();
    await line.write(get(plan));
    await stay(line, plan);
  }),
  client("closes its side behind its head", async (line, plan) => {
    line.socket.end(get(plan));
    await stay(line, plan);
  }),
  client("stops within its upload", async (line, plan) => {
    await line.write(partOfUpload(plan));
    await depart(line, plan);
  }),
  client("stops within its upload when the answer begins", async (line, plan) => {
    await line.write(partOfUpload(plan));
    await stayUntil(line, plan, () => line.bytes > 0);
    await depart(line, plan);
  }),
  client("resets within its upload", async (line, plan) => {
    await line.write(partOfUpload(plan));
    line.socket.resetAndDestroy();
  }),
  client("sends more than its length", async (line, plan) => {
    await line.write(`${plan.head("POST", "Content-Length: 5\r\n")}\r\n${"u".repeat(5_000)}`);
    await depart(line, plan);
  }),
  client("sends an invalid chunk", async (line, plan) => {
    await line.write(`${plan.head("POST", "Transfer-Encoding: chunked\r\n")}\r\n5\r\nhello\r\nzz\r\n`);
    await depart(line, plan);
  }),
  client("sends its upload without an end", async (line, plan) => {
    await line.write(`${plan.head("POST", "Transfer-Encoding: chunked\r\n")}\r\n`);
    await line.writeForever(`4000\r\n${"u".repeat(0x4000)}\r\n`, plan.leave);
  }),
  client("sends two requests at once", async (line, plan) => {
    await line.write(get(plan) + get(plan));
    await depart(line, plan);
  }),
  client("asks for a sandbox that does not exist, with an upload", async (line, plan) => {
    const head = `POST / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: nobody-80\r\nContent-Length: 100000\r\n\r\n`;
    await line.write(head + "u".repeat(plan.random.integer(50_000)));
    await depart(line, plan);
  }),
  client("asks with an invalid framing", async (line, plan) => {
    await line.write(`${plan.head("GET", "Content-Length: 5\r\n")}\r\nhello`);
    await depart(line, plan);
  }),
  client("expects 100 and sends nothing", async (line, plan) => {
    await line.write(`${plan.head("POST", "Content-Length: 50\r\nExpect: 100-continue\r\n")}\r\n`);
    await depart(line, plan);
  }),
];

/** Clients that ask for no WebSocket. */
export const HTTP_CLIENTS: readonly RudeClient[] = [...ORDERLY, ...RUDE];
