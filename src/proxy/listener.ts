import type { Server } from "bun";

/**
 * Servers that no longer listen and still have something open, at most. Each pause leaves one behind until its last WebSocket
 * ends, and costs about 500 KB; who can cause pauses must not cause more than these.
 */
const RETIRED_MAX = 16;

/** A port that can stop accepting connections for a while, which Bun's own server cannot. */
export interface Listener {
  /** Listens; gives the port. Throws when that is taken. */
  start(): number;
  /** Whether it accepts connections. */
  readonly isAccepting: boolean;
  /**
   * Accepts no more: clients are refused at once, instead of waiting in a queue that nobody empties. What is open goes on; idle
   * connections are closed. Does nothing while too many earlier pauses are still not over.
   */
  pause(): void;
  /** Accepts again, on the same port. Throws when that has been taken meanwhile. */
  resume(): void;
  /** Closes connections that wait for a next request, and gives their number. Those that never sent one stay: Bun has 12 s for them. */
  closeIdle(): number;
  /** `Server.timeout`, whichever server the request came over. */
  timeout(request: Request, seconds: number): void;
  /** Answers that Bun still has: of all servers. */
  pendingRequests(): number;
  /** Whether the answer to a request is not through yet, and its connection still there. */
  isOpen(request: Request): boolean;
  /** Accepts no more for good; resolves when everything has ended. */
  stop(): Promise<void>;
  /** Ends everything at once. */
  stopNow(): Promise<void>;
}

/** @param serve Opens a server on the port; 0 takes a free one. */
export function createListener<D>(port: number, serve: (port: number) => Server<D>): Listener {
  const retired = new Set<Server<D>>();
  let taken = port;
  let current: Server<D> | undefined;
  let isStarted = false;

  const open = (): void => {
    current = serve(taken);
    taken = current.port ?? taken;
  };
  const retire = (): void => {
    const server = current;
    if (server === undefined) return;
    current = undefined;
    retired.add(server);
    const forget = (): void => void retired.delete(server);
    server.stop().then(forget, forget);
  };
  const stopAll = async (options: { readonly now: boolean }): Promise<void> => {
    isStarted = false;
    const servers = current === undefined ? [...retired] : [...retired, current];
    await Promise.all(servers.map((server) => server.stop(options.now)));
  };
  return {
    start() {
      open();
      isStarted = true;
      return taken;
    },
    get isAccepting() {
      return current !== undefined;
    },
    pause() {
      if (isStarted && retired.size < RETIRED_MAX) retire();
    },
    resume() {
      if (isStarted && current === undefined) open();
    },
    closeIdle: () => current?.closeIdleConnections() ?? 0,
    timeout(request, seconds) {
      // The request knows its own connection: any server will do.
      const [server = current] = retired;
      (current ?? server)?.timeout(request, seconds);
    },
    pendingRequests() {
      let pending = current?.pendingRequests ?? 0;
      for (const server of retired) pending += server.pendingRequests;
      return pending;
    },
    isOpen(request) {
      const [server = current] = retired;
      const address = (current ?? server)?.requestIP(request) ?? null;
      return address !== null;
    },
    stop: () => stopAll({ now: false }),
    stopNow: () => stopAll({ now: true }),
  };
}
