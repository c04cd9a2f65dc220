import { join } from "node:path";

const TEMPLATE = Bun.file(join(import.meta.dir, "sample-sandbox.html"));
const DEFAULT_FRAME_INTERVAL_MS = 1000;
/** Name of the cookie that `/cookie/set` sets. Its value is the sandbox's name. */
export const SAMPLE_COOKIE = "sample";
/** Bun's own limit is 128 MB, but uploads to a sandbox can have gigabytes. */
const MAX_REQUEST_BYTES = Number.MAX_SAFE_INTEGER;

export interface SampleSandbox {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  stop(): Promise<void>;
}

/** A frame of `/events`. */
export interface EventFrame {
  readonly sandbox: string;
  readonly sequence: number;
  /** Milliseconds since the epoch. */
  readonly sentAt: number;
}

/**
 * Something to route to: a page at `/`, what arrived at `/echo`, an event stream at `/events` (frames are JSON and an
 * empty line, `?count=` of them, unbounded by default, every `?interval=` ms), the SHA-256 of a body at `/upload`, a
 * WebSocket echo at `/ws`. It also has what a proxy can break: a redirect from `/redirect` to the sandbox's own address,
 * `/asset.js`, which the page requests by its absolute path, a cookie of `/cookie/set` for the path `/cookie`, shown at
 * `/cookie/show`, and an echo at `/strict-ws` for clients whose `Origin` is the `Host`. Port 0 takes a free one. Throws
 * when the address cannot be listened on.
 */
export function startSampleSandbox(name: string, options: { address: string; port: number }): SampleSandbox {
  const server = Bun.serve({
    hostname: options.address,
    port: options.port,
    idleTimeout: 0,
    maxRequestBodySize: MAX_REQUEST_BYTES,
    routes: {
      "/": (request) => answerPage(name, request),
      "/echo": (request) =>
        Response.json({ sandbox: name, method: request.method, url: request.url, headers: request.headers.toJSON() }),
      "/events": (request) => answerEvents(name, request),
      "/upload": { POST: answerUpload, PUT: answerUpload },
      "/ws": (request, self) =>
        self.upgrade(request) ? undefined : new Response("This is a WebSocket.\n", { status: 426 }),
      "/strict-ws": (request, self) => {
        if (!isOwnOrigin(request)) return new Response("The Origin is not this Host.\n", { status: 403 });
        return self.upgrade(request) ? undefined : new Response("This is a WebSocket.\n", { status: 426 });
      },
      "/redirect": (request) => Response.redirect(`http://${request.headers.get("host")}/landed`, 302),
      "/landed": () => new Response(`landed at ${name}\n`),
      "/asset.js": () =>
        new Response(`globalThis.assetOf = ${JSON.stringify(name)};\n`, {
          headers: { "content-type": "text/javascript" },
        }),
      "/cookie/set": () =>
        new Response("set\n", { headers: { "set-cookie": `${SAMPLE_COOKIE}=${name}; Path=/cookie; HttpOnly` } }),
      "/cookie/show": (request) => new Response(`${request.headers.get("cookie") ?? ""}\n`),
    },
    fetch: () => new Response("No such page.\n", { status: 404 }),
    websocket: {
      message: (socket, message) => {
        socket.send(message);
      },
    },
  });
  return { name, address: options.address, port: server.port ?? options.port, stop: () => server.stop(true) };
}

/** As servers check it that know nothing of proxies. */
function isOwnOrigin(request: Request): boolean {
  const origin = URL.parse(request.headers.get("origin") ?? "");
  return origin !== null && origin.host === request.headers.get("host");
}

async function answerPage(name: string, request: Request): Promise<Response> {
  // Behind a path prefix, `/id/port` and `/id/port/` are the same page. Relative addresses depend on which one it is.
  const prefix = request.headers.get("x-forwarded-prefix") ?? "";
  const html = (await TEMPLATE.text()).replaceAll("{{name}}", () => Bun.escapeHTML(name));
  return new Response(
    html.replace("{{base}}", () => Bun.escapeHTML(`${prefix}/`)),
    { headers: { "content-type": "text/html; charset=utf-8", "cache-control": "no-store" } },
  );
}

function answerEvents(name: string, request: Request): Response {
  const { searchParams } = new URL(request.url);
  const count = Number(searchParams.get("count") ?? Number.POSITIVE_INFINITY);
  const intervalMs = Number(searchParams.get("interval") ?? DEFAULT_FRAME_INTERVAL_MS);
  async function* frames() {
    for (let sequence = 1; sequence <= count && !request.signal.aborted; sequence++) {
      if (sequence > 1) await Bun.sleep(intervalMs);
      const frame: EventFrame = { sandbox: name, sequence, sentAt: Date.now() };
      yield `${JSON.stringify(frame)}\n\n`;
    }
  }
  return new Response(frames(), { headers: { "content-type": "text/event-stream", "cache-control": "no-store" } });
}

async function answerUpload(request: Request): Promise<Response> {
  const hash = new Bun.CryptoHasher("sha256");
  let bytes = 0;
  const body: ReadableStream<Uint8Array> | null = request.body;
  if (body !== null) {
    for await (const chunk of body) {
      hash.update(chunk);
      bytes += chunk.byteLength;
    }
  }
  return Response.json({ bytes, sha256: hash.digest("hex") });
}
