// soak-floods.ts: how long other requests wait while WebSockets flood. Prints one line for each kind of flood. Exit
// code 1 if the p99 of a plain request or of /livez is above the bound. INGRESS_BINARY names the binary; FLOOD_SECONDS
// the time of each.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isMainThread, Worker, workerData } from "node:worker_threads";

import { eventually } from "./lib/eventually.ts";
import { isAnswering, startIngressProcess } from "./lib/ingress-process.ts";
import { acceptKey, buildFrame, openRawWebSocket, OPCODE } from "./lib/stage/raw-websocket.ts";
import { batchSandbox } from "./lib/stage/sandbox-objects.ts";

/** The bound on the wait of 99 of 100 other requests, in milliseconds, on two cores. */
const P99_MAX_MS = 250;
const SECONDS = Number(process.env["FLOOD_SECONDS"] ?? 5);
const BLOCK_BYTES = 256 * 1024;
/** Linux's unit of processor time. */
const CLOCK_TICKS_PER_SECOND = 100;

interface Flood {
  readonly name: string;
  /** Sent once before the flood. */
  readonly first?: Buffer;
  readonly frame: Buffer;
  readonly from: "client" | "sandbox";
  readonly connections: number;
}

const client = (opcode: number, payload = "", fin = true): Buffer => buildFrame(opcode, payload, { masked: true, fin });
const server = (opcode: number, payload = ""): Buffer => buildFrame(opcode, payload);

const FLOODS: readonly Flood[] = [
  { name: "empty binary", frame: client(OPCODE.binary), from: "client", connections: 1 },
  { name: "empty binary", frame: client(OPCODE.binary), from: "client", connections: 20 },
  { name: "text of 2", frame: client(OPCODE.text, "ab"), from: "client", connections: 20 },
  { name: "binary of 100", frame: client(OPCODE.binary, "x".repeat(100)), from: "client", connections: 20 },
  { name: "pings", frame: client(OPCODE.ping), from: "client", connections: 20 },
  { name: "pongs", frame: client(OPCODE.pong), from: "client", connections: 20 },
  {
    name: "empty fragments",
    first: client(OPCODE.text, "", false),
    frame: client(OPCODE.continuation, "", false),
    from: "client",
    connections: 20,
  },
  { name: "empty binary", frame: server(OPCODE.binary), from: "sandbox", connections: 1 },
  { name: "empty binary", frame: server(OPCODE.binary), from: "sandbox", connections: 20 },
  { name: "text of 2", frame: server(OPCODE.text, "ab"), from: "sandbox", connections: 20 },
  { name: "pings", frame: server(OPCODE.ping), from: "sandbox", connections: 20 },
];

/** Writes the frame again and again, as fast as the other side reads. */
function flood(socket: Socket, frame: Buffer, first?: Buffer): void {
  if (first !== undefined) socket.write(first);
  const count = Math.ceil(BLOCK_BYTES / frame.length);
  const block = Buffer.concat(Array.from({ length: count }, () => frame));
  const write = (): void => {
    while (!socket.destroyed && socket.writable && socket.write(block));
  };
  socket.on("drain", write);
  write();
}

/** A sandbox that accepts WebSockets and reads everything. It floods those at `/flood`. Runs in its own thread. */
function runSandbox(frame: Uint8Array): void {
  const listener = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", (head: Buffer) => {
      const text = head.toString("latin1");
      const key = /sec-websocket-key: (\S+)/i.exec(text)?.[1];
      if (key === undefined)
        return void socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptKey(key)}\r\n\r\n`,
      );
      socket.on("data", () => {});
      if (text.includes(" /flood ")) flood(socket, Buffer.from(frame));
    });
  });
  listener.listen(0, "127.0.0.1", () => {
    const address = listener.address();
    if (address !== null && typeof address !== "string") postMessage(address.port);
  });
}

/** The flooding clients, in their own thread. */
async function runClients(options: { port: number; sandboxPort: number; flood: Flood }): Promise<void> {
  const { from, connections } = options.flood;
  const path = from === "sandbox" ? "/flood" : "/";
  const extra = `OpenSandbox-Ingress-To: flood-${options.sandboxPort}\r\n`;
  const sockets = await Promise.all(
    Array.from({ length: connections }, () => openRawWebSocket(options.port, path, { extra })),
  );
  const refused = sockets.find(({ status }) => status !== 101);
  if (refused !== undefined) throw new Error(`no WebSocket: ${refused.head}`);
  for (const { socket } of sockets) {
    socket.removeAllListeners("data");
    socket.on("error", () => {}).on("data", () => {});
    if (from === "client") {
      const { first, frame } = options.flood;
      flood(socket, Buffer.from(frame), first === undefined ? undefined : Buffer.from(first));
    }
  }
  postMessage(sockets.length);
}

type Task =
  | { readonly role: "sandbox"; readonly frame: Uint8Array }
  | { readonly role: "clients"; readonly port: number; readonly sandboxPort: number; readonly flood: Flood };

function isTask(value: unknown): value is Task {
  return typeof value === "object" && value !== null && "role" in value;
}

function startWorker(task: Task): { worker: Worker; first: Promise<number> } {
  const worker = new Worker(new URL(import.meta.url), { workerData: task });
  const first = new Promise<number>((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  return { worker, first };
}

/** The 99th percentile of the time of a request, in milliseconds, and the number of requests. */
async function sample(url: string, headers: Record<string, string>): Promise<{ p99: number; count: number }> {
  const times: number[] = [];
  const end = performance.now() + SECONDS * 1000;
  while (performance.now() < end) {
    const startedAt = performance.now();
    const answer = await fetch(url, { headers });
    if (answer.status !== 200) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
    await answer.text();
    times.push(performance.now() - startedAt);
    await Bun.sleep(2);
  }
  times.sort((a, b) => a - b);
  return { p99: times[Math.floor(times.length * 0.99)] ?? 0, count: times.length };
}

/** Processor time of the process, in seconds. */
async function processorSeconds(pid: number): Promise<number> {
  const fields = (await Bun.file(`/proc/${pid}/stat`).text()).split(" ");
  return (Number(fields[13]) + Number(fields[14])) / CLOCK_TICKS_PER_SECOND;
}

async function measure(kind: Flood): Promise<boolean> {
  const dir = mkdtempSync(join(tmpdir(), "ingress-floods-"));
  for (const name of ["flood", "calm"]) {
    const manifest = batchSandbox({ name, uid: name, namespace: "soak", endpoints: '["127.0.0.1"]' });
    writeFileSync(join(dir, `${name}.json`), JSON.stringify(manifest));
  }
  const binary = process.env["INGRESS_BINARY"] ?? join(import.meta.dir, "../dist/ingress");
  await using ingress = await startIngressProcess(binary, [`--manifests=${dir}`, "--log-level=error"]);
  await eventually(() => isAnswering(`${ingress.adminOrigin}/readyz`));
  const sandbox = startWorker({ role: "sandbox", frame: kind.frame });
  using calm = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("ok") });
  const port = Number(new URL(ingress.origin).port);
  const clients = startWorker({ role: "clients", port, sandboxPort: await sandbox.first, flood: kind });
  await clients.first;
  const before = await processorSeconds(ingress.pid);
  const [plain, livez] = await Promise.all([
    sample(`${ingress.origin}/`, { "OpenSandbox-Ingress-To": `calm-${calm.port}` }),
    sample(`${ingress.adminOrigin}/livez`, {}),
  ]);
  const busy = (await processorSeconds(ingress.pid)) - before;
  await Promise.all([clients.worker.terminate(), sandbox.worker.terminate()]);
  rmSync(dir, { recursive: true });
  const isGood = plain.p99 < P99_MAX_MS && livez.p99 < P99_MAX_MS;
  console.log(
    `${isGood ? "ok  " : "FAIL"} ${kind.connections} × ${kind.name} from the ${kind.from}: ` +
      `p99 of a request ${plain.p99.toFixed(0)} ms (${plain.count}), of /livez ${livez.p99.toFixed(0)} ms (${livez.count}), ` +
      `the ingress ${((100 * busy) / SECONDS).toFixed(0)} % of a core`,
  );
  return isGood;
}

if (isMainThread) {
  let failures = 0;
  for (const kind of FLOODS) if (!(await measure(kind))) failures++;
  process.exit(failures === 0 ? 0 : 1);
} else {
  const task: unknown = workerData;
  if (!isTask(task)) throw new Error("this worker was given no task");
  if (task.role === "sandbox") runSandbox(task.frame);
  else await runClients(task);
}
