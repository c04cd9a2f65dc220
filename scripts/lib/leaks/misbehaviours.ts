import type { Socket } from "node:net";

import type { Random } from "../stage/random.ts";
import { acceptKey, buildFrame, closePayload, OPCODE } from "../stage/raw-websocket.ts";
import { drip, type Misbehaviour, type SandboxRequest, writeForever } from "./hostile-sandbox.ts";

const KIB = 1024;
const BLOCK = "x".repeat(16 * KIB);
const TYPE = "Content-Type: text/x\r\n";

/** Statuses as a sandbox may write them: all of three digits, and the ones at the edges more often. */
function anyStatus(random: Random): string {
  if (random.integer(2) === 0) return String(100 + random.integer(900));
  return random.pick(["000", "100", "101", "102", "103", "199", "204", "205", "304", "407", "599", "600", "999"]);
}

const plain = (name: string, act: Misbehaviour["act"]): Misbehaviour => ({ name, act });

/** Writes these bytes and stays. */
const says = (name: string, bytes: string): Misbehaviour => plain(name, (socket) => void socket.write(bytes, "latin1"));

const answers = (bodyBytes: number, extra = ""): string =>
  `HTTP/1.1 200 OK\r\n${TYPE}${extra}Content-Length: ${bodyBytes}\r\n\r\n${"y".repeat(bodyBytes)}`;

/** Answers of well-behaved sandboxes: small, large, early, late, and of every status. */
const ORDERLY: readonly Misbehaviour[] = [
  plain("answers when the request is whole", (socket, { whole }) => {
    void whole.then(() => socket.write(answers(2)));
  }),
  plain("answers with a megabyte", (socket, { whole }) => {
    void whole.then(() => socket.write(answers(KIB * KIB)));
  }),
  says("answers before the request is whole", answers(2)),
  plain("answers and closes", (socket) => socket.end(answers(2, "Connection: close\r\n"))),
  plain("answers in chunks", (socket) => {
    socket.write(`HTTP/1.1 200 OK\r\n${TYPE}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`);
  }),
  plain("answers until it closes", (socket) => socket.end(`HTTP/1.1 200 OK\r\n${TYPE}\r\n${BLOCK}`)),
  plain("answers with any status", (socket, _request, random) => {
    socket.write(`HTTP/1.1 ${anyStatus(random)} Any\r\n${TYPE}Content-Length: 2\r\n\r\nok`);
  }),
  plain("answers with any status and no body", (socket, _request, random) => {
    socket.write(`HTTP/1.1 ${anyStatus(random)} Any\r\nContent-Length: 0\r\n\r\n`);
  }),
];

/** Answers that never begin, never end, or end where they should not. */
const BROKEN: readonly Misbehaviour[] = [
  plain("sends interim answers for ever", (socket) => writeForever(socket, "HTTP/1.1 102 Processing\r\n\r\n")),
  plain("drips interim answers", (socket) => drip(socket, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")),
  says("sends 100 and nothing else", "HTTP/1.1 100 Continue\r\n\r\n"),
  says("switches protocols unasked", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"),
  plain("never answers", () => {}),
  plain("never reads and never answers", (socket) => void socket.pause()),
  plain("never reads, and answers in part", (socket) => {
    socket.pause();
    socket.write(`HTTP/1.1 200 OK\r\n${TYPE}Content-Length: 100\r\n\r\npart`);
  }),
  plain("never reads, and answers whole", (socket) => {
    socket.pause();
    socket.write(answers(2));
  }),
  says("stops within the head", "HTTP/1.1 200 OK\r\nContent-Ty"),
  plain("ends its side within the head", (socket) => void socket.end("HTTP/1.1 200 OK\r\nContent-Ty")),
  plain("closes at once", (socket) => void socket.destroy()),
  plain("ends its side at once", (socket) => void socket.end()),
  plain("resets at once", (socket) => void socket.resetAndDestroy()),
  plain("resets within the body", (socket) => {
    socket.write(`HTTP/1.1 200 OK\r\n${TYPE}Content-Length: 100\r\n\r\npart`, () => socket.resetAndDestroy());
  }),
  says("sends more than the length", `HTTP/1.1 200 OK\r\n${TYPE}Content-Length: 5\r\n\r\n${"z".repeat(500)}`),
  says("stops before the length", `HTTP/1.1 200 OK\r\n${TYPE}Content-Length: 50000\r\n\r\npart`),
  plain("closes before the length", (socket) =>
    socket.end(`HTTP/1.1 200 OK\r\n${TYPE}Content-Length: 50000\r\n\r\npart`),
  ),
  plain("drips a body of known length", (socket) => {
    socket.write(`HTTP/1.1 200 OK\r\n${TYPE}Content-Length: 1000000\r\n\r\n`);
    drip(socket, "y");
  }),
  plain("sends chunks for ever", (socket) => {
    socket.write(`HTTP/1.1 200 OK\r\n${TYPE}Transfer-Encoding: chunked\r\n\r\n`);
    writeForever(socket, `${BLOCK.length.toString(16)}\r\n${BLOCK}\r\n`);
  }),
  plain("drips chunks for ever", (socket) => {
    socket.write(`HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n`);
    drip(socket, "1\r\nx\r\n");
  }),
  plain("resets within a chunk", (socket) => {
    const begun = `HTTP/1.1 200 OK\r\n${TYPE}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1000\r\nhalf`;
    socket.write(begun, () => socket.resetAndDestroy());
  }),
  says("sends an invalid chunk", `HTTP/1.1 200 OK\r\n${TYPE}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n`),
  plain("sends a body without an end for ever", (socket) => {
    socket.write(`HTTP/1.1 200 OK\r\n${TYPE}\r\n`);
    writeForever(socket, BLOCK);
  }),
];

/** Refusals of handshakes in each framing, whole and stalled. To a plain request they are answers. */
const REFUSING: readonly Misbehaviour[] = [
  says("refuses without a body", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"),
  says("refuses with 304", "HTTP/1.1 304 Not Modified\r\n\r\n"),
  says("refuses with a body of known length", `HTTP/1.1 404 Not Found\r\n${TYPE}Content-Length: 4\r\n\r\ngone`),
  says(
    "refuses with a chunked body",
    `HTTP/1.1 401 Unauthorized\r\n${TYPE}Transfer-Encoding: chunked\r\n\r\n4\r\ngone\r\n0\r\n\r\n`,
  ),
  plain("refuses with a body until it closes", (socket) => socket.end(`HTTP/1.1 503 Busy\r\n${TYPE}\r\ngone`)),
  says("refuses and stalls within a length", `HTTP/1.1 404 Not Found\r\n${TYPE}Content-Length: 4000\r\n\r\ngone`),
  says("refuses and stalls before the body", `HTTP/1.1 500 No\r\n${TYPE}Content-Length: 4\r\n\r\n`),
  says(
    "refuses and stalls between chunks",
    `HTTP/1.1 403 No\r\n${TYPE}Transfer-Encoding: chunked\r\n\r\n4\r\ngone\r\n`,
  ),
  says("refuses and stalls without framing", `HTTP/1.1 404 Not Found\r\n${TYPE}\r\ngone`),
  plain("refuses for ever", (socket) => {
    socket.write(`HTTP/1.1 404 Not Found\r\n${TYPE}\r\n`);
    writeForever(socket, BLOCK);
  }),
  plain("refuses and resets within the body", (socket) => {
    socket.write(`HTTP/1.1 404 No\r\n${TYPE}Content-Length: 400\r\n\r\ngone`, () => socket.resetAndDestroy());
  }),
];

function upgradeHead({ headerLines }: SandboxRequest): string {
  const line = headerLines.find((header) => /^sec-websocket-key:/i.test(header)) ?? "";
  const accept = acceptKey(line.slice(line.indexOf(":") + 1).trim());
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`;
}

/** Accepts the handshake, then goes on. */
const upgrades = (name: string, then: (socket: Socket, random: Random) => void): Misbehaviour => ({
  name: `upgrades and ${name}`,
  accepts: true,
  act(socket, request, random) {
    if (!request.isUpgrade) return void socket.write(answers(2));
    socket.write(upgradeHead(request));
    then(socket, random);
  },
});

const UPGRADING: readonly Misbehaviour[] = [
  upgrades("is silent", () => {}),
  upgrades("never reads", (socket) => void socket.pause()),
  upgrades("greets", (socket) => void socket.write(buildFrame(OPCODE.text, "hello"))),
  upgrades("closes orderly", (socket) => {
    socket.write(buildFrame(OPCODE.close, closePayload(1000)));
    socket.on("data", () => socket.end());
  }),
  upgrades("sends Close and keeps TCP open", (socket) => {
    socket.write(buildFrame(OPCODE.close, closePayload(1000, "bye")));
  }),
  upgrades("sends Close and goes on", (socket) => {
    socket.write(buildFrame(OPCODE.close, closePayload(4000)));
    writeForever(socket, buildFrame(OPCODE.text, "more"));
  }),
  upgrades("ends its side", (socket) => void socket.end()),
  upgrades("resets", (socket, random) => {
    const greeting = buildFrame(OPCODE.text, "hello");
    if (random.integer(2) === 0) socket.write(greeting, () => socket.resetAndDestroy());
    else socket.on("data", () => socket.resetAndDestroy());
  }),
  upgrades("sends garbage frames", (socket, random) => {
    socket.write(Buffer.from(Array.from({ length: 64 }, () => random.integer(256))));
  }),
  upgrades("sends frames for ever", (socket) => writeForever(socket, buildFrame(OPCODE.binary, Buffer.alloc(4 * KIB)))),
  upgrades("sends small frames for ever", (socket) => {
    writeForever(socket, Buffer.concat(Array.from({ length: 200 }, () => buildFrame(OPCODE.text, "tick"))));
  }),
  upgrades("floods with pings", (socket) => {
    writeForever(socket, Buffer.concat(Array.from({ length: 200 }, () => buildFrame(OPCODE.ping, "are you there"))));
  }),
  upgrades("drips messages", (socket) => drip(socket, buildFrame(OPCODE.text, "tick"))),
  upgrades("begins a message and never ends it", (socket) => {
    socket.write(buildFrame(OPCODE.text, "begun", { fin: false }));
    drip(socket, buildFrame(OPCODE.continuation, "more", { fin: false }));
  }),
  upgrades("stops within a frame", (socket) => void socket.write(buildFrame(OPCODE.binary, BLOCK).subarray(0, 100))),
  upgrades("sends more than is allowed", (socket) => {
    socket.write(buildFrame(OPCODE.binary, Buffer.alloc(4 * KIB * KIB)));
  }),
  plain("accepts with an invalid key", (socket) => {
    socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
    );
  }),
  plain("stops within the head of the handshake", (socket) => void socket.write("HTTP/1.1 101 Swi")),
];

/** What hostile and broken sandboxes do, and what orderly ones do. */
export const MISBEHAVIOURS: readonly Misbehaviour[] = [...ORDERLY, ...BROKEN, ...REFUSING, ...UPGRADING];
