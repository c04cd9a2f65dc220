import type { Server } from "bun";

import { WebSocket } from "ws";

import type { ProxyHarness } from "./proxy-harness.ts";

/** Two loopback addresses. A proxy takes them for two hosts. */
const ADDRESSES = ["127.0.0.1", "127.0.0.2"] as const;

/** The results of a load's clients. */
export interface Tally {
  /** Answers and echoes from the address in the sandbox's record. */
  good: number;
  /** Requests and tunnels that ended because their sandbox was replaced. */
  ended: number;
  /** Everything else, above all answers of an address to a sandbox that had left it. */
  readonly wrong: string[];
}

/** Two sandboxes that swap two addresses, and servers there that know the current owner. */
export interface AddressSwap extends AsyncDisposable {
  readonly tally: Tally;
  swap(): void;
  /** Sends requests to one of the sandboxes, one after the other, until `isOver`. */
  loadWithRequests(sandbox: 0 | 1, isOver: () => boolean): Promise<void>;
  /** Keeps a WebSocket to one of the sandboxes busy, and opens a new one when it is closed, until `isOver`. */
  loadWithTunnel(sandbox: 0 | 1, isOver: () => boolean): Promise<void>;
}

/**
 * Each server judges a request when it arrives, in this same process and hence at an exact point between two swaps. A
 * generation that ends takes its requests along, so an answer with a bad verdict must never reach a client.
 */
export function createAddressSwap(proxy: ProxyHarness): AddressSwap {
  const tally: Tally = { good: 0, ended: 0, wrong: [] };
  let turn = 0;
  const held = (sandbox: number): string => ADDRESSES[sandbox === turn ? 0 : 1];
  const verdict = (sandbox: string, address: string): string =>
    held(Number(sandbox)) === address ? "good" : `sandbox ${sandbox} at ${address}`;
  const publish = (): void => {
    for (const sandbox of [0, 1]) proxy.provider.set({ name: `sandbox-${sandbox}`, endpoint: held(sandbox) });
  };
  publish();
  const first = startServer(ADDRESSES[0], 0, verdict);
  const second = startServer(ADDRESSES[1], first.port ?? 0, verdict);
  const count = (text: string): void => {
    if (text === "good") tally.good++;
    else tally.wrong.push(text);
  };
  const headersFor = (sandbox: number): Record<string, string> => ({
    "OpenSandbox-Ingress-To": `sandbox-${sandbox}-${first.port}`,
    "X-Sandbox": String(sandbox),
  });

  return {
    tally,
    swap() {
      turn = 1 - turn;
      publish();
    },
    async loadWithRequests(sandbox, isOver) {
      for (let i = 0; !isOver(); i++) {
        const answer = await fetch(`http://127.0.0.1:${proxy.port}${i % 2 === 0 ? "/" : "/busy"}`, {
          method: i % 3 === 0 ? "POST" : "GET",
          headers: headersFor(sandbox),
        });
        const text = await answer.text();
        if (answer.status === 502 && text.includes("replaced")) tally.ended++;
        else count(text);
      }
    },
    async loadWithTunnel(sandbox, isOver) {
      while (!isOver()) {
        await new Promise<void>((resolve) => {
          const socket = new WebSocket(`ws://127.0.0.1:${proxy.port}/ws`, { headers: headersFor(sandbox) });
          socket.on("message", (data: Buffer) => {
            count(data.toString());
            if (isOver()) socket.close();
            else socket.send("again");
          });
          socket.on("error", () => {});
          socket.on("close", () => {
            tally.ended++;
            resolve();
          });
        });
      }
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([first.stop(true), second.stop(true)]);
    },
  };
}

function startServer(
  hostname: string,
  port: number,
  verdict: (sandbox: string, address: string) => string,
): Server<{ readonly sandbox: string }> {
  return Bun.serve<{ readonly sandbox: string }>({
    hostname,
    port,
    async fetch(request, server) {
      const sandbox = request.headers.get("x-sandbox") ?? "";
      const { pathname } = new URL(request.url);
      if (pathname === "/ws") {
        return server.upgrade(request, { data: { sandbox } }) ? undefined : new Response("no", { status: 400 });
      }
      const answer = verdict(sandbox, hostname);
      // Stays busy for a moment, so that swaps meet requests in flight as well as idle connections.
      if (pathname === "/busy") await Bun.sleep(2);
      return new Response(answer);
    },
    websocket: {
      open: (socket) => void socket.send(verdict(socket.data.sandbox, hostname)),
      message: (socket) => void socket.send(verdict(socket.data.sandbox, hostname)),
    },
  });
}
