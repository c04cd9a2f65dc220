import { findFreePort } from "../../scripts/lib/free-port.ts";
import { DEFAULT_HOLD, type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw, type RawConnection } from "../../scripts/lib/stage/raw-client.ts";
import type { ProxyConfig } from "../../src/proxy/proxy-config.ts";
import type { HoldConfig } from "../../src/proxy/hold/hold-config.ts";
import type { ProxyParts } from "../../src/proxy/server.ts";
import type { SandboxRecord } from "../../src/sandbox/provider.ts";

/** What one request is like. */
export interface AskOptions {
  readonly method?: string;
  readonly path?: string;
  /** Lines without line ends. */
  readonly headers?: readonly string[];
  readonly body?: string;
}

/** A proxy whose sandboxes can be unready, and a real server as the sandbox. */
export interface HoldStage extends AsyncDisposable {
  readonly proxy: ProxyHarness;
  /** The port of the sandbox, on which something listens once `listen` has been called. */
  readonly port: number;
  /** What the sandbox got, in order: method, path and body. */
  readonly got: readonly string[];
  listen(): void;
  /** Sends a request on a connection of its own. */
  ask(sandbox: string, options?: AskOptions): Promise<RawConnection>;
  setUnready(name: string, record?: Partial<SandboxRecord>): void;
  setReady(name: string, record?: Partial<SandboxRecord>): void;
  held(): number;
}

export const NOT_READY = "sandbox not ready: sandbox sb not ready (Pending: no replica ready)";

/** @param hold Default: requests are held for a minute. */
export function startHoldStage(
  hold: Partial<HoldConfig> = {},
  others: { readonly config?: Partial<ProxyConfig>; readonly parts?: Partial<Omit<ProxyParts, "provider">> } = {},
): HoldStage {
  const proxy = startProxy({ hold: { ...DEFAULT_HOLD, holdMs: 60_000, ...hold }, ...others.config }, others.parts);
  const port = findFreePort();
  const got: string[] = [];
  let server: ReturnType<typeof Bun.serve> | undefined;
  const connections: RawConnection[] = [];
  return {
    proxy,
    port,
    got,
    listen() {
      server = Bun.serve({
        hostname: "127.0.0.1",
        port,
        async fetch(request, bun) {
          if (bun.upgrade(request, { data: undefined })) return undefined;
          const { pathname } = new URL(request.url);
          got.push(`${request.method} ${pathname} ${await request.text()}`.trim());
          return new Response("ok");
        },
        websocket: { message: (socket, message) => void socket.send(message) },
      });
    },
    async ask(sandbox, { method = "GET", path = "/", headers = [], body } = {}) {
      const length = body === undefined ? [] : [`Content-Length: ${body.length}`];
      const lines = [`${method} ${path} HTTP/1.1`, "Host: h.test", `OpenSandbox-Ingress-To: ${sandbox}-${port}`];
      const connection = await openRaw(proxy.port);
      connections.push(connection);
      connection.write(`${[...lines, ...headers, ...length].join("\r\n")}\r\n\r\n${body ?? ""}`);
      return connection;
    },
    setUnready: (name, record = {}) =>
      proxy.provider.set({ name, ready: false, notReady: NOT_READY, endpoint: "", ...record }),
    setReady: (name, record = {}) => proxy.provider.set({ name, ...record }),
    held: () => proxy.server.inspection.waits().held,
    async [Symbol.asyncDispose]() {
      for (const connection of connections) connection.destroy();
      await proxy[Symbol.asyncDispose]();
      await server?.stop(true);
    },
  };
}
