import { createServer, type Server, type Socket } from "node:net";

import { createRandom, type Random } from "../stage/random.ts";

/** Two addresses of loopback: to a proxy they are two hosts. */
export const SANDBOX_HOSTS = ["127.0.0.1", "127.0.0.2"] as const;

/** A head longer than this is not read to its end, in characters: no proxy sends one. */
const HEAD_MAX_CHARS = 256 * 1024;

const CHUNKED_END = "0\r\n\r\n";

/** One request, as a sandbox has it when its head has come. */
export interface SandboxRequest {
  readonly line: string;
  readonly headerLines: readonly string[];
  readonly isUpgrade: boolean;
  /** Resolves when the body has come; never where it does not. */
  readonly whole: Promise<void>;
}

/** What a sandbox does with a request, from its head on. Its connection is never closed but by `act` and the other side. */
export interface Misbehaviour {
  /** Completes "the sandbox …". */
  readonly name: string;
  /** It accepts handshakes. */
  readonly accepts?: true;
  act(socket: Socket, request: SandboxRequest, random: Random): void;
}

/** A sandbox at all of `SANDBOX_HOSTS` with one port. */
export interface HostileSandbox extends AsyncDisposable {
  readonly port: number;
  /** Requests whose head has come. */
  readonly requests: number;
}

/** The path that asks a hostile sandbox for one of its misbehaviours, with the seed of what is random in it. */
export function misbehaviourPath(index: number, seed: number): string {
  return `/${index}/${seed}`;
}

/** @param onRequest Told of each request, before it is acted upon. */
export async function startHostileSandbox(
  misbehaviours: readonly Misbehaviour[],
  onRequest: (request: SandboxRequest) => void = () => {},
): Promise<HostileSandbox> {
  const open = new Set<Socket>();
  let requests = 0;
  const serve = (socket: Socket): void => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    socket.on("error", () => {});
    readRequests(socket, (request) => {
      requests++;
      onRequest(request);
      const [, index = "", seed = ""] = request.line.split(" ")[1]?.split("/") ?? [];
      misbehaviours[Number(index)]?.act(socket, request, createRandom(Number(seed)));
    });
  };
  const servers: Server[] = [];
  let port = 0;
  for (const host of SANDBOX_HOSTS) {
    const server = createServer({ allowHalfOpen: true }, serve);
    port = await listen(server, host, port);
    servers.push(server);
  }
  return {
    port,
    get requests() {
      return requests;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      await Promise.all(servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))));
    },
  };
}

async function listen(server: Server, host: string, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, host, backlog: 1024 }, resolve);
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** Calls back with each head; bodies are counted and dropped. */
function readRequests(socket: Socket, onRequest: (request: SandboxRequest) => void): void {
  let text = "";
  let body: BodyCount | undefined;
  socket.on("data", (data: Buffer) => {
    text += data.toString("latin1");
    for (;;) {
      if (body !== undefined) {
        text = body.take(text);
        if (!body.isWhole) return;
        body = undefined;
      }
      const headEnd = text.indexOf("\r\n\r\n");
      if (headEnd < 0) {
        if (text.length > HEAD_MAX_CHARS) socket.destroy();
        return;
      }
      const [line = "", ...headerLines] = text.slice(0, headEnd).split("\r\n");
      text = text.slice(headEnd + 4);
      body = new BodyCount(headerLines);
      const isUpgrade = headerLines.some((header) => /^upgrade:/i.test(header));
      onRequest({ line, headerLines, isUpgrade, whole: body.whole });
      // What comes behind an upgrade is no request.
      if (isUpgrade) return body.endless();
    }
  });
}

/** Finds the end of one body, and keeps nothing of it. */
class BodyCount {
  isWhole = false;
  readonly whole: Promise<void>;
  readonly #resolve: () => void;
  #left: number;
  #tail = "";

  constructor(headerLines: readonly string[]) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.whole = promise;
    this.#resolve = resolve;
    const isChunked = headerLines.some((line) => /^transfer-encoding:.*chunked/i.test(line));
    const length = headerLines.find((line) => /^content-length:/i.test(line))?.slice("content-length:".length);
    this.#left = isChunked ? Number.POSITIVE_INFINITY : Number(length ?? 0);
    if (this.#left === 0) this.#end();
  }

  endless(): void {
    this.isWhole = false;
    this.#left = Number.POSITIVE_INFINITY;
  }

  /** Takes what belongs to the body; gives the rest. A chunked body is taken to be the last of its connection. */
  take(text: string): string {
    if (Number.isFinite(this.#left)) {
      const taken = Math.min(text.length, this.#left);
      this.#left -= taken;
      if (this.#left === 0) this.#end();
      return text.slice(taken);
    }
    this.#tail = (this.#tail + text).slice(-CHUNKED_END.length);
    if (this.#tail === CHUNKED_END) this.#resolve();
    return "";
  }

  #end(): void {
    this.isWhole = true;
    this.#resolve();
  }
}

/** Writes for as long as the other side takes it, one write a turn of the event loop. */
export function writeForever(socket: Socket, bytes: string | Buffer): void {
  const more = (): void => {
    if (socket.destroyed || !socket.writable) return;
    const isTaken = typeof bytes === "string" ? socket.write(bytes, "latin1") : socket.write(bytes);
    if (isTaken) setImmediate(more);
    else socket.once("drain", more);
  };
  more();
}

/** Writes a little again and again, until the connection ends. */
export function drip(socket: Socket, bytes: string | Buffer): void {
  const timer = setInterval(() => {
    if (socket.writable && socket.writableLength === 0) socket.write(bytes);
  }, DRIP_INTERVAL_MS);
  socket.on("close", () => clearInterval(timer));
}

const DRIP_INTERVAL_MS = 20;
