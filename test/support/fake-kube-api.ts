import { createServer, type Server, type Socket } from "node:net";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { KubeObject } from "../../src/kube/resource.ts";

/** An object as the fake keeps it. */
export interface FakeObject extends KubeObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly resourceVersion: string;
  };
  readonly spec: unknown;
}

/** One request, which the test answers. */
export interface FakeExchange {
  /** `stream`: a watch that begins with all objects. */
  readonly kind: "list" | "watch" | "stream" | "other";
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: ReadonlyMap<string, string>;
  /** A complete answer with its length. */
  respond(status: number, body: unknown, headers?: Readonly<Record<string, string>>): void;
  /** The head of a chunked answer 200. The test writes the rest; without that, the answer hangs. */
  stream(): FakeStream;
}

/** A chunked body that the test writes byte by byte. */
export interface FakeStream {
  write(data: string | Uint8Array): void;
  /** Ends it in order. */
  end(): void;
  /** Ends the connection, even within the body. */
  cut(): void;
}

/** A fake API server: it keeps objects, events and history of one resource, and misbehaves on request. */
export interface FakeKubeApi extends Disposable {
  readonly url: string;
  /** A kubeconfig for this server. */
  readonly kubeconfig: string;
  /** `namespace/name` → object: the truth. */
  readonly objects: ReadonlyMap<string, FakeObject>;
  /** All requests so far. */
  readonly exchanges: readonly FakeExchange[];
  /** The watches that are open now. */
  readonly watches: ReadonlySet<FakeStream>;
  /** Creates or changes an object and notifies the watches. `silently`: not the open ones (a lost event). */
  put(name: string, spec: unknown, options?: { readonly silently?: boolean }): FakeObject;
  remove(name: string): void;
  /** The resource version of the last change. */
  version(): number;
  /** Forgets the open watches without ending their connections, which are then dead without knowing it. */
  deafen(): void;
  /** Sets the history back to `version`, as after a restore of etcd. The objects stay. */
  rollBack(version: number): void;
  /** Whether streams of objects are supported. At first they are refused, as by an API server before 1.32. */
  streams: boolean;
  /** Drops history: watches from before now get 410. */
  compact(): void;
  /** Lets the test answer the next request of the kind. Several are used in order. */
  intercept(kind: FakeExchange["kind"], answer: (exchange: FakeExchange) => void): void;
  /** Lets the test answer all requests of the kind, until `stop` of the result is called. */
  interceptAll(kind: FakeExchange["kind"], answer: (exchange: FakeExchange) => void): { stop(): void };
}

export function eventLine(type: string, object: unknown): string {
  return `${JSON.stringify({ type, object })}\n`;
}

/** The bookmark that ends the objects of a stream. */
export function endOfObjects(version: number): string {
  const annotations = { "k8s.io/initial-events-end": "true" };
  return eventLine("BOOKMARK", { kind: "Thing", metadata: { resourceVersion: String(version), annotations } });
}

/** The body of a refusal. */
export function statusBody(code: number, reason: string, message: string): unknown {
  return { kind: "Status", apiVersion: "v1", status: "Failure", code, reason, message };
}

/** @param dir Where the kubeconfig goes. */
export async function startFakeKubeApi(dir: string): Promise<FakeKubeApi> {
  const fake = new LoopbackKubeApi(dir);
  await fake.listen();
  return fake;
}

interface FakeEvent {
  readonly version: number;
  readonly line: string;
}

const NAMESPACE = "ns";

class LoopbackKubeApi implements FakeKubeApi {
  readonly objects = new Map<string, FakeObject>();
  readonly exchanges: FakeExchange[] = [];
  readonly watches = new Set<FakeStream>();
  url = "";
  streams = false;
  readonly kubeconfig: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #once = new Map<string, ((exchange: FakeExchange) => void)[]>();
  readonly #always = new Map<string, (exchange: FakeExchange) => void>();
  readonly #snapshots = new Map<string, { readonly items: readonly FakeObject[]; readonly version: number }>();
  #events: FakeEvent[] = [];
  #version = 100;
  #compacted = 0;

  constructor(dir: string) {
    this.kubeconfig = join(dir, "fake.kubeconfig");
    this.#server = createServer((socket) => this.#accept(socket));
  }

  listen(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.listen(0, "127.0.0.1", () => {
        const address = this.#server.address();
        this.url = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
        const config = {
          "current-context": "fake",
          contexts: [{ name: "fake", context: { cluster: "fake", user: "fake" } }],
          clusters: [{ name: "fake", cluster: { server: this.url } }],
          users: [{ name: "fake", user: { token: "fake-token" } }],
        };
        writeFileSync(this.kubeconfig, JSON.stringify(config));
        resolve();
      });
    });
  }

  version(): number {
    return this.#version;
  }

  put(name: string, spec: unknown, options: { readonly silently?: boolean } = {}): FakeObject {
    const key = `${NAMESPACE}/${name}`;
    const known = this.objects.get(key);
    this.#version += 1;
    const uid = known?.metadata.uid ?? `uid-${this.#version}`;
    const resourceVersion = String(this.#version);
    const object = { metadata: { name, namespace: NAMESPACE, uid, resourceVersion }, spec };
    this.objects.set(key, object);
    this.#tell(eventLine(known === undefined ? "ADDED" : "MODIFIED", object), options);
    return object;
  }

  remove(name: string): void {
    const object = this.objects.get(`${NAMESPACE}/${name}`);
    if (object === undefined) return;
    this.#version += 1;
    this.objects.delete(`${NAMESPACE}/${name}`);
    const metadata = { ...object.metadata, resourceVersion: String(this.#version) };
    this.#tell(eventLine("DELETED", { ...object, metadata }));
  }

  deafen(): void {
    this.watches.clear();
  }

  rollBack(version: number): void {
    this.#version = version;
    this.#events = [];
    this.#snapshots.clear();
    for (const [key, object] of this.objects) {
      this.objects.set(key, { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } });
    }
  }

  compact(): void {
    this.#events = [];
    this.#compacted = this.#version;
    this.#snapshots.clear();
  }

  intercept(kind: FakeExchange["kind"], answer: (exchange: FakeExchange) => void): void {
    this.#once.set(kind, [...(this.#once.get(kind) ?? []), answer]);
  }

  interceptAll(kind: FakeExchange["kind"], answer: (exchange: FakeExchange) => void): { stop(): void } {
    this.#always.set(kind, answer);
    return { stop: () => this.#always.delete(kind) };
  }

  [Symbol.dispose](): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #tell(line: string, options: { readonly silently?: boolean } = {}): void {
    this.#events.push({ version: this.#version, line });
    if (options.silently === true) return;
    for (const watch of this.watches) watch.write(line);
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    let pending = "";
    socket.on("data", (data) => {
      pending += data.toString("latin1");
      for (let end = pending.indexOf("\r\n\r\n"); end >= 0; end = pending.indexOf("\r\n\r\n")) {
        const head = pending.slice(0, end);
        pending = pending.slice(end + 4);
        this.#serve(createExchange(head, socket));
      }
    });
  }

  #serve(exchange: FakeExchange): void {
    this.exchanges.push(exchange);
    const once = this.#once.get(exchange.kind)?.shift();
    const always = this.#always.get(exchange.kind);
    if (once !== undefined) once(exchange);
    else if (always !== undefined) always(exchange);
    else if (exchange.kind === "list") this.#list(exchange);
    else if (exchange.kind === "watch") this.#watch(exchange);
    else if (exchange.kind === "stream") this.#stream(exchange);
    else exchange.respond(404, "404 page not found");
  }

  #list(exchange: FakeExchange): void {
    if (this.#isAhead(exchange)) return exchange.respond(504, this.#tooLarge(exchange));
    const limit = Number(exchange.query.get("limit") ?? Number.POSITIVE_INFINITY);
    const [snapshotId = "", from = "0"] = (exchange.query.get("continue") ?? "").split("+");
    const isFirst = snapshotId === "";
    const snapshot = isFirst
      ? { items: [...this.objects.values()], version: this.#version }
      : this.#snapshots.get(snapshotId);
    if (snapshot === undefined)
      return exchange.respond(410, statusBody(410, "Expired", "The provided continue parameter is too old"));
    const start = Number(from);
    const rest = snapshot.items.length - start - limit;
    const id = isFirst ? `snapshot${this.#snapshots.size}` : snapshotId;
    this.#snapshots.set(id, snapshot);
    const metadata = {
      resourceVersion: String(snapshot.version),
      ...(rest > 0 && { continue: `${id}+${start + limit}`, remainingItemCount: rest }),
    };
    exchange.respond(200, { kind: "ThingList", metadata, items: snapshot.items.slice(start, start + limit) });
  }

  #isAhead({ query }: FakeExchange): boolean {
    return query.get("resourceVersionMatch") === "NotOlderThan" && Number(query.get("resourceVersion")) > this.#version;
  }

  /** The message of kube-apiserver 1.34. */
  #tooLarge({ query }: FakeExchange): unknown {
    const message = `Timeout: Too large resource version: ${query.get("resourceVersion")}, current: ${this.#version}`;
    const causes = [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }];
    return { kind: "Status", code: 504, reason: "Timeout", message, details: { causes, retryAfterSeconds: 1 } };
  }

  #stream(exchange: FakeExchange): void {
    if (!this.streams) {
      const text = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
      return exchange.respond(422, statusBody(422, "Invalid", text));
    }
    const stream = exchange.stream();
    if (this.#isAhead(exchange)) {
      stream.write(eventLine("ERROR", this.#tooLarge(exchange)));
      return stream.end();
    }
    for (const object of this.objects.values()) stream.write(eventLine("ADDED", object));
    stream.write(endOfObjects(this.#version));
    this.#keep(exchange, stream);
  }

  #watch(exchange: FakeExchange): void {
    const from = Number(exchange.query.get("resourceVersion"));
    if (from < this.#compacted) return exchange.respond(410, statusBody(410, "Expired", "too old resource version"));
    const stream = exchange.stream();
    for (const event of this.#events) if (event.version > from) stream.write(event.line);
    this.#keep(exchange, stream);
  }

  #keep(exchange: FakeExchange, stream: FakeStream): void {
    const forget = () => this.watches.delete(watch);
    const watch: FakeStream = {
      write: (data) => stream.write(data),
      end: () => (forget(), stream.end()),
      cut: () => (forget(), stream.cut()),
    };
    this.watches.add(watch);
    onceClosed(exchange, forget);
  }
}

const SOCKETS = new WeakMap<FakeExchange, Socket>();

function onceClosed(exchange: FakeExchange, callback: () => void): void {
  SOCKETS.get(exchange)?.once("close", callback);
}

function createExchange(head: string, socket: Socket): FakeExchange {
  const [requestLine = "", ...headerLines] = head.split("\r\n");
  const url = new URL(requestLine.split(" ")[1] ?? "/", "http://fake");
  const headers = new Map(
    headerLines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
    }),
  );
  const isCollection = url.pathname.endsWith("/things");
  const isStream = url.searchParams.get("sendInitialEvents") === "true";
  const collectionKind = url.searchParams.get("watch") !== "true" ? "list" : isStream ? "stream" : "watch";
  const kind = isCollection ? collectionKind : "other";
  const exchange: FakeExchange = {
    kind,
    path: url.pathname,
    query: url.searchParams,
    headers,
    respond(status, body, extra = {}) {
      const text = typeof body === "string" ? body : JSON.stringify(body);
      const lines = Object.entries({ "Content-Length": String(Buffer.byteLength(text)), ...extra });
      socket.write(
        `HTTP/1.1 ${status} S\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n${text}`,
      );
    },
    stream() {
      socket.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
      return {
        write(data) {
          if (socket.destroyed) return;
          const bytes = Buffer.from(data);
          socket.write(Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")]));
        },
        end: () => socket.write("0\r\n\r\n"),
        cut: () => socket.destroy(),
      };
    },
  };
  SOCKETS.set(exchange, socket);
  return exchange;
}
