import { connect, type Socket } from "node:net";

/** What is kept of what came, in characters: enough for a head. The rest is counted. */
const KEPT_MAX_CHARS = 8 * 1024;

/** A client's connection that counts what comes, and can be as rude as TCP allows. */
export interface ClientLine {
  readonly socket: Socket;
  /** Bytes that have come. */
  readonly bytes: number;
  /** The first that came, as latin1. */
  readonly start: string;
  readonly isClosed: boolean;
  /** Writes, and resolves when the kernel has it or the connection ended. */
  write(data: string | Buffer): Promise<void>;
  /** Writes again and again, one write a turn of the event loop, until the connection ended or `leave` resolves. */
  writeForever(data: string | Buffer, leave: Promise<void>): Promise<void>;
  /** Resolves when the condition holds or the connection ended; looked at when something came. */
  until(condition: () => boolean): Promise<void>;
}

/** Connects; both halves of the connection end on their own. */
export async function openLine(port: number): Promise<ClientLine> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  const wakers = new Set<() => void>();
  const wake = (): void => {
    for (const waker of wakers) waker();
  };
  let bytes = 0;
  let start = "";
  let isClosed = false;
  socket.on("data", (data: Buffer) => {
    bytes += data.length;
    if (start.length < KEPT_MAX_CHARS) start += data.toString("latin1").slice(0, KEPT_MAX_CHARS);
    wake();
  });
  for (const event of ["end", "error", "close"] as const) {
    socket.on(event, () => {
      isClosed = true;
      wake();
    });
  }
  await new Promise<void>((resolve) => {
    socket.once("connect", resolve);
    socket.once("close", () => resolve());
  });
  const until = (condition: () => boolean): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (!isClosed && !condition()) return;
        wakers.delete(look);
        resolve();
      };
      wakers.add(look);
      look();
    });
  const write = async (data: string | Buffer): Promise<void> => {
    if (isClosed || !socket.writable) return;
    let isTaken = false;
    const note = (): void => {
      isTaken = true;
      wake();
    };
    if (typeof data === "string") socket.write(data, "latin1", note);
    else socket.write(data, note);
    await until(() => isTaken);
  };
  return {
    socket,
    get bytes() {
      return bytes;
    },
    get start() {
      return start;
    },
    get isClosed() {
      return isClosed;
    },
    write,
    async writeForever(data, leave) {
      let hasToLeave = false;
      void leave.then(() => (hasToLeave = true));
      const isOver = (): boolean => isClosed || hasToLeave;
      while (!isOver()) {
        await Promise.race([write(data), leave]);
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
    },
    until,
  };
}
