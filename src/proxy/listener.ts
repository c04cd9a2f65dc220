import type { Server } from "bun";
import type { Door } from "./request/door.ts";

/**
 * How many servers may have stopped listening but still have something open. Each pause leaves one server until its
 * last WebSocket ends, and costs about 500 KB. An attacker who causes pauses must not cause more of them.
 */
const RETIRED_MAX = 16;

/**
 * How long a server and the one that replaces it both accept, in milliseconds. Closing a listener resets what it has not
 * accepted, so the earlier one first accepts what has queued up while the new one was opened.
 */
const OVERLAP_MS = 5;

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
   * Opens a server anew, for connections from now on, and retires the earlier one like `pause`. Only for a port that is
   * shared. With too many retired servers the oldest ends at once, and `onCrowded` is called. Throws, and changes
   * nothing, if the new server cannot be opened.
   */
  replace(): void;
  /**
   * Closes connections that wait for their next request, and returns how many. Connections that never sent a request
   * stay; Bun closes them after 12 s.
   */
  closeIdle(): number;
  /** Calls `Server.timeout`, whichever server the request came through. False: there is no server. */
  timeout(request: Request, seconds: number): boolean;
  /** Answers that Bun has not finished sending, of all servers. */
  pendingRequests(): number;
  /**
   * Whether the answer to a request is not sent completely and its connection is still open; undefined: there is no
   * server to ask.
   */
  isOpen(request: Request): boolean | undefined;
  /** Stops accepting for good. Resolves when everything has ended. */
  stop(): Promise<void>;
  /** Ends everything at once. */
  stopNow(): Promise<void>;
}

/** What a listener asks of a new server. */
export interface ServeOptions {
  /** 0 takes a free one. */
  readonly port: number;
  /** The door of the requests that come through this server. */
  readonly door: Door;
  /** Whether the server shares the port with those of this process that share it, too (`SO_REUSEPORT`). */
  readonly sharesPort: boolean;
}

export interface ListenerOptions {
  readonly port: number;
  /** Default: `http`. */
  readonly scheme?: Door["scheme"];
  /**
   * Default: false. True: `replace` works. Each start and `resume` then first opens the port without sharing it: a
   * second ingress on the port would otherwise go unnoticed.
   */
  readonly sharesPort?: boolean;
  /** Called when a retired server has ended early, with what it had open. */
  readonly onCrowded?: () => void;
}

/** @param serve Opens a server on the port. */
export function createListener<D>(options: ListenerOptions, serve: (options: ServeOptions) => Server<D>): Listener {
  const { scheme = "http", sharesPort = false, onCrowded } = options;
  const retired = new Set<Server<D>>();
  let taken = options.port;
  let current: { readonly server: Server<D>; readonly door: Door } | undefined;
  let isStarted = false;

  const serveOn = (port: number, shares: { readonly sharesPort: boolean }): NonNullable<typeof current> => {
    const door: Door = { scheme, isRetired: false };
    return { server: serve({ port, door, ...shares }), door };
  };
  const open = (): void => {
    current = serveOn(taken, { sharesPort: false });
    taken = current.server.port ?? taken;
    if (!sharesPort) return;
    void current.server.stop(true);
    current = undefined;
    current = serveOn(taken, { sharesPort });
  };
  const retire = ({ server, door }: NonNullable<typeof current>): (() => void) => {
    door.isRetired = true;
    retired.add(server);
    const forget = (): void => void retired.delete(server);
    return () => void server.stop().then(forget, forget);
  };
  const makeRoom = (): void => {
    const [oldest] = retired;
    if (oldest === undefined || retired.size < RETIRED_MAX) return;
    retired.delete(oldest);
    void oldest.stop(true);
    onCrowded?.();
  };
  /** A request knows its own connection, so any server will do. */
  const anyServer = (): Server<D> | undefined => {
    const [server] = retired;
    return current?.server ?? server;
  };
  const stopAll = async (how: { readonly now: boolean }): Promise<void> => {
    isStarted = false;
    const servers = current === undefined ? [...retired] : [...retired, current.server];
    if (current !== undefined) current.door.isRetired = true;
    await Promise.all(servers.map((server) => server.stop(how.now)));
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
      if (!isStarted || current === undefined || retired.size >= RETIRED_MAX) return;
      const stop = retire(current);
      current = undefined;
      stop();
    },
    resume() {
      if (isStarted && current === undefined) open();
    },
    replace() {
      // While it is paused, `resume` opens the new server.
      if (!isStarted || current === undefined) return;
      const next = serveOn(taken, { sharesPort });
      makeRoom();
      const stop = retire(current);
      current = next;
      setTimeout(stop, OVERLAP_MS);
    },
    closeIdle: () => current?.server.closeIdleConnections() ?? 0,
    timeout(request, seconds) {
      const server = anyServer();
      server?.timeout(request, seconds);
      return server !== undefined;
    },
    pendingRequests() {
      let pending = current?.server.pendingRequests ?? 0;
      for (const server of retired) pending += server.pendingRequests;
      return pending;
    },
    isOpen(request) {
      const server = anyServer();
      return server === undefined ? undefined : server.requestIP(request) !== null;
    },
    stop: () => stopAll({ now: false }),
    stopNow: () => stopAll({ now: true }),
  };
}
