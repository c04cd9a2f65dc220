import { connect, createServer, type Server, type Socket } from "node:net";

/** A piece of network in front of a server, which a test can break. */
export interface TcpGate extends AsyncDisposable {
  readonly port: number;
  /** Cuts all connections and refuses new ones. */
  close(): Promise<void>;
  /** Lets connections through again. */
  open(): Promise<void>;
  /** Cuts all connections. New ones pass. */
  cut(): void;
  /** Stops all bytes, on present and later connections, without ending a connection. */
  freeze(): void;
  /** Lets bytes pass again, but only on new connections. */
  thaw(): void;
  /** The number of connections so far. */
  accepted(): number;
}

/** Opens a gate on a free port of loopback, in front of a port there. */
export async function openTcpGate(targetPort: number): Promise<TcpGate> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let frozen = false;
  let accepted = 0;

  const accept = (client: Socket) => {
    accepted += 1;
    const upstream = connect(targetPort, "127.0.0.1");
    const pair = [client, upstream] as const;
    pairs.add(pair);
    for (const [from, to] of [pair, [upstream, client] as const]) {
      from.on("data", (data) => {
        if (!frozen && pairs.has(pair)) to.write(data);
      });
      from.on("error", () => from.destroy());
      from.on("close", () => {
        if (frozen) return;
        pairs.delete(pair);
        to.destroy();
      });
    }
  };

  let server: Server;
  const listen = (port: number) =>
    new Promise<number>((resolve, reject) => {
      server = createServer(accept);
      server.once("error", reject);
      server.listen(port, "127.0.0.1", () => {
        const address = server.address();
        resolve(typeof address === "object" && address !== null ? address.port : 0);
      });
    });
  const port = await listen(0);
  let isOpen = true;

  const cut = () => {
    for (const pair of pairs) for (const socket of pair) socket.destroy();
    pairs.clear();
  };
  const close = () =>
    new Promise<void>((resolve) => {
      cut();
      if (!isOpen) return resolve();
      isOpen = false;
      server.close(() => resolve());
      cut();
    });
  return {
    port,
    cut,
    close,
    async open() {
      if (isOpen) return;
      await listen(port);
      isOpen = true;
    },
    freeze() {
      frozen = true;
    },
    thaw() {
      // A frozen connection stays frozen: the swallowed bytes would be missing in the middle.
      for (const [client, upstream] of pairs) {
        client.removeAllListeners("data");
        upstream.removeAllListeners("data");
      }
      pairs.clear();
      frozen = false;
    },
    accepted: () => accepted,
    [Symbol.asyncDispose]: close,
  };
}
