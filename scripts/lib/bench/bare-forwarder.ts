// bare-forwarder.ts OPTIONS: the simplest proxy on Bun, to measure what the ingress adds. One Bun.serve and one fetch;
// headers and answer are changed in place, and nothing is looked up, checked, counted, bounded or cleaned up. OPTIONS is
// `BareOptions` as JSON.
import type { ServerWebSocket } from "bun";
import { WebSocket } from "ws";
import { readBareOptions } from "./bare-options.ts";
import { endWithParent } from "./child-process.ts";

const options = readBareOptions(process.argv[2] ?? "");
const { http2, namedInPath, certificate } = options;
const origin = `127.0.0.1:${options.upstreamPort}`;
const sink = `127.0.0.1:${options.sinkPort}`;
const chunked = `127.0.0.1:${options.chunkedPort}`;

interface Relay {
  readonly upstream: WebSocket;
}

const server = Bun.serve<Relay>({
  hostname: "127.0.0.1",
  port: 0,
  idleTimeout: 0,
  maxRequestBodySize: Number.MAX_SAFE_INTEGER,
  development: false,
  http2,
  ...(certificate && { tls: { cert: Bun.file(certificate.certFile), key: Bun.file(certificate.keyFile) } }),
  fetch(request, server) {
    const { headers, method, url } = request;
    const path = pathOf(url);
    if (headers.has("upgrade")) return relay(request, path, server);
    headers.delete("host");
    headers.delete("connection");
    return fetch(`http://${upstreamOf(path)}${path}`, {
      method,
      headers,
      body: request.body,
      redirect: "manual",
      decompress: false,
      proxy: false,
      timeout: false,
      signal: request.signal,
    });
  },
  websocket: {
    idleTimeout: 0,
    sendPings: false,
    perMessageDeflate: false,
    open(client) {
      const { upstream } = client.data;
      upstream.on("message", (data: Buffer, binary: boolean) => sendToClient(client, data, binary));
      upstream.on("close", () => client.close());
    },
    message: (client, data) => client.data.upstream.send(data),
    close: (client) => client.data.upstream.close(),
  },
});

function pathOf(url: string): string {
  const path = url.slice(url.indexOf("/", "https://".length));
  return namedInPath ? path.slice(path.indexOf("/", path.indexOf("/", 1) + 1)) : path;
}

function upstreamOf(path: string): string {
  if (path === "/upload") return sink;
  return path.startsWith("/chunked/") ? chunked : origin;
}

function sendToClient(client: ServerWebSocket<Relay>, data: Buffer, binary: boolean): void {
  if (binary) client.sendBinary(data);
  else client.sendText(data.toString());
}

async function relay(request: Request, path: string, server: Bun.Server<Relay>): Promise<Response | undefined> {
  const upstream = new WebSocket(`ws://${origin}${path}`, { perMessageDeflate: false });
  const opened = Promise.withResolvers<void>();
  upstream.once("open", () => opened.resolve());
  upstream.once("error", (error) => opened.reject(error));
  await opened.promise;
  return server.upgrade(request, { data: { upstream } }) ? undefined : new Response(null, { status: 400 });
}

console.log(JSON.stringify({ port: server.port }));
endWithParent();
