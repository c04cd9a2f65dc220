/**
 * How long one command of the DevTools protocol may take, in milliseconds: a busy machine's browser answers in seconds.
 */
const COMMAND_MAX_MS = 60_000;

export type CdpParams = Readonly<Record<string, unknown>>;

export interface CdpEvent {
  readonly method: string;
  readonly params: CdpParams;
  /** Undefined: it concerns the whole browser. */
  readonly sessionId: unknown;
}

interface Pending {
  readonly resolve: (result: CdpParams) => void;
  readonly reject: (error: Error) => void;
  readonly timer: Timer;
}

/** A connection to a browser over the Chrome DevTools Protocol, which carries all its pages. */
export interface CdpClient extends Disposable {
  /** Throws what the browser answers, and when it does not answer within a minute or goes away. */
  send(method: string, params?: CdpParams, sessionId?: string): Promise<CdpParams>;
  /** Gives every event to `listener`, until the returned function is called. */
  listen(listener: (event: CdpEvent) => void): () => void;
}

/** The fields of an object; none where it is not one. */
export function toRecord(value: unknown): CdpParams {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

/** Connects to the `ws://` URL that a browser names as its debugger's. */
export async function connectCdp(url: string): Promise<CdpClient> {
  const socket = new WebSocket(url);
  const pending = new Map<number, Pending>();
  const listeners = new Set<(event: CdpEvent) => void>();
  let lastId = 0;
  const settle = (id: number): Pending | undefined => {
    const waiting = pending.get(id);
    pending.delete(id);
    clearTimeout(waiting?.timer);
    return waiting;
  };
  socket.addEventListener("message", ({ data }) => {
    const { id, result, error, method, params, sessionId } = toRecord(JSON.parse(String(data)));
    if (typeof id !== "number") {
      const event = { method: String(method), params: toRecord(params), sessionId };
      for (const listener of listeners) listener(event);
      return;
    }
    const waiting = settle(id);
    if (error === undefined) waiting?.resolve(toRecord(result));
    else waiting?.reject(new Error(String(toRecord(error)["message"])));
  });
  socket.addEventListener("close", () => {
    for (const id of pending.keys()) settle(id)?.reject(new Error("the browser closed the connection"));
  });
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener("open", () => resolve());
    socket.addEventListener("error", () => reject(new Error(`cannot connect to the browser at ${url}`)));
  });
  return {
    send(method, params = {}, sessionId) {
      const id = ++lastId;
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => settle(id)?.reject(new Error(`${method}: no answer`)), COMMAND_MAX_MS);
        pending.set(id, { resolve, reject, timer });
        socket.send(JSON.stringify({ id, method, params, sessionId }));
      });
    },
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    [Symbol.dispose]: () => socket.close(),
  };
}
