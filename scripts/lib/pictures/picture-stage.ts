import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type IngressProcess, startIngressProcess } from "../ingress-process.ts";
import { batchSandbox } from "../stage/sandbox-objects.ts";

const MAIN = join(import.meta.dir, "../../../src/main.ts");

/** The day of an ingress in a minute: requests for each tick, again and again. */
const TIDE = [6, 8, 9, 12, 15, 14, 11, 9, 7, 8, 10, 16, 22, 25, 21, 15, 11, 8] as const;
const TICK_MS = 250;

/** Sandboxes in the pictures, of each namespace. */
const SANDBOXES = 140;
const NAMESPACES = ["team-search", "team-agents", "evals"] as const;
const PURPOSES = ["code-runner", "notebook", "browser", "eval", "preview"] as const;

/** An ingress with sandboxes and traffic, for pictures. */
export interface PictureStage extends AsyncDisposable {
  readonly ingress: IngressProcess;
  /** The port that sandboxes listen on. */
  readonly sandboxPort: number;
  /** A port that nothing listens on. */
  readonly deadPort: number;
  /** Names that say what they are for. */
  readonly ready: string;
  readonly starting: string;
}

export async function startPictureStage(): Promise<PictureStage> {
  const dir = mkdtempSync(join(tmpdir(), "ingress-pictures-"));
  const upstream = startUpstream();
  const sandboxPort = upstream.port ?? 0;
  const items = NAMESPACES.flatMap((namespace, team) =>
    Array.from({ length: SANDBOXES }, (_, at) => describeSandbox(namespace, team * SANDBOXES + at)),
  );
  const manifest = join(dir, "sandboxes.json");
  await Bun.write(manifest, JSON.stringify({ apiVersion: "v1", kind: "List", items }));
  const flags = [`--manifests=${manifest}`, "--all-namespaces", "--access-log=off", "--connect-timeout=2s"];
  const ingress = await startIngressProcess(process.execPath, flags, { script: MAIN });
  const ready = nameOf(1);
  const starting = nameOf(STARTING_EVERY - 1);
  const stop = startTraffic({ ingress, sandboxPort });
  return {
    ingress,
    sandboxPort,
    deadPort: 3_000,
    ready,
    starting,
    async [Symbol.asyncDispose]() {
      stop();
      await ingress[Symbol.asyncDispose]();
      await upstream.stop(true);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Of the secured sandboxes; all requests but those of the refused pages show it. */
const TOKEN = "a-token-of-the-pictures";

/** Every so many sandboxes one is starting, or has a token. */
const STARTING_EVERY = 9;
const SECURED_EVERY = 4;

function nameOf(at: number): string {
  const hash = Bun.hash.crc32(`sandbox ${at}`).toString(36).padStart(7, "0").slice(-5);
  return `${PURPOSES[at % PURPOSES.length]}-${hash}`;
}

function describeSandbox(namespace: string, at: number): Record<string, unknown> {
  const isStarting = at % STARTING_EVERY === STARTING_EVERY - 1;
  return batchSandbox({
    name: nameOf(at),
    namespace,
    uid: `uid-${at}`,
    endpoints: '["127.0.0.1"]',
    ...(at % SECURED_EVERY === 2 ? { token: TOKEN } : {}),
    ...(isStarting ? { status: { replicas: 1, ready: 0, phase: "Pending" } } : {}),
  });
}

function startUpstream() {
  return Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request, server) {
      const { pathname } = new URL(request.url);
      if (server.upgrade(request, { data: undefined })) return undefined;
      if (pathname === "/fail") return new Response("no", { status: 500 });
      if (pathname === "/missing") return new Response("no", { status: 404 });
      await Bun.sleep(2 + Math.random() * (pathname === "/slow" ? 120 : 18));
      return new Response("hello");
    },
    websocket: { message() {} },
  });
}

/** Requests of all kinds, and some WebSockets that stay open. Gives what ends it. */
function startTraffic(parts: { readonly ingress: IngressProcess; readonly sandboxPort: number }): () => void {
  const { ingress, sandboxPort } = parts;
  const sockets = Array.from({ length: 17 }, (_, at) => {
    const headers = { "OpenSandbox-Ingress-To": `${nameOf(at * 5 + 1)}-${sandboxPort}` };
    return new WebSocket(ingress.origin.replace("http", "ws"), { headers });
  });
  let ticks = 0;
  const timer = setInterval(() => {
    const count = TIDE[ticks % TIDE.length] ?? 0;
    ticks += 1;
    for (let at = 0; at < count; at++) void send(ingress, askFor(ticks * 7 + at * 3, sandboxPort));
  }, TICK_MS);
  return () => {
    clearInterval(timer);
    for (const socket of sockets) socket.close();
  };
}

/** What the request of this number asks for: mostly what works. */
function askFor(at: number, port: number): { readonly route: string; readonly path: string } {
  const name = nameOf((at * 97) % (NAMESPACES.length * SANDBOXES));
  if (at % 41 === 0) return { route: `gone-${(at % 7) + 1}-${port}`, path: "/" };
  if (at % 53 === 0) return { route: `${nameOf(6)}-3000`, path: "/" };
  const path = at % 37 === 0 ? "/fail" : at % 29 === 0 ? "/missing" : at % 11 === 0 ? "/slow" : "/";
  return { route: `${name}-${port}`, path };
}

async function send(ingress: IngressProcess, asked: ReturnType<typeof askFor>): Promise<void> {
  const headers = { "OpenSandbox-Ingress-To": asked.route, "OpenSandbox-Secure-Access": TOKEN };
  const answer = await fetch(ingress.origin + asked.path, { headers, proxy: false }).catch(() => undefined);
  await answer?.arrayBuffer().catch(() => {});
}
