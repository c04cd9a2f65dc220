import type { Server } from "bun";

/**
 * How many servers may have stopped listening but still have something open. Each pause leaves one server until its
 * last WebSocket ends, and costs about 500 KB. An attacker who causes pauses must not cause more of them.
 */
const RETIRED_MAX = 16;

/** A port that can stop accepting connections for a while. Bun's own server cannot do that. */
export interface Listener {
  /** Listens and returns the port. Throws if the port is taken. */
  start(): number;
  /** Whether it accepts connections. */
  readonly isAccepting: boolean;
  /**
   * Stops accepting. Clients are refused at once instead of waiting in a queue that nobody empties. Open requests go
   * on; idle connections are closed. Does nothing while too many earlier pauses are unfinished.
   */
  pause(): void;
  /** Accepts again on the same port. Throws if another process has taken the port. */
  resume(): void;
  /**
   * Closes connections that wait for their next request, and returns how many. Connections that never sent a request
   * stay; Bun closes them after 12 s.
   */
  closeIdle(): number;
  /** Calls `Server.timeout`, whichever server the request came through. */
  timeout(request: Request, seconds: number): void;
  /** Answers that Bun has not finished sending, of all servers. */
  pendingRequests(): number;
  /** Whether the answer to a request is not sent completely and its connection is still open. */
  isOpen(request: Request): boolean;
  /** Stops accepting for good. Resolves when everything has ended. */
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
      // The request knows its own connection, so any server will do.
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
