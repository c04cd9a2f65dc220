import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { runIngress, type RunningIngress, type Sandboxes } from "./demo-stage.ts";
import { checkAsset, checkCookie, checkRedirect, checkStrictWebSocket } from "./browser-checks.ts";
import { once, request, requestOk, type Way } from "./demo-way.ts";

const LOGS = join(import.meta.dir, "../../../.cache");
const UPLOAD_BYTES = 100_000_000;
const UPLOAD_CHUNK_BYTES = 1_000_000;
const FRAMES = 5;
const EXPECTED_SEQUENCE = "1 2 3 4 5";
const FRAME_INTERVAL_MS = 300;
const LARGE_MESSAGE_BYTES = 1 << 20;
/** Longest time of one check; each takes less than a tenth of it. */
const CHECK_MAX_MS = 60_000;

interface Row {
  readonly ok: boolean;
  readonly form: string;
  readonly name: string;
  readonly detail: string;
}

/** Tries every route form and kind of traffic, prints the results, and returns whether all of them were right. */
export async function runChecks(options: {
  binary: string;
  sandboxes: Sandboxes;
  /** Flags that say where sandboxes come from. */
  providerFlags: readonly string[];
  /** Pauses a sandbox; undefined: nothing does. */
  pause: ((name: string) => Promise<void>) | undefined;
  findPort: () => number;
}): Promise<boolean> {
  const { sandboxes, providerFlags, pause, findPort } = options;
  mkdirSync(LOGS, { recursive: true });
  const start = (mode: "header" | "uri") =>
    runIngress({
      command: [options.binary],
      providerFlags,
      mode,
      host: "127.0.0.1",
      port: findPort(),
      adminPort: findPort(),
      logFile: join(LOGS, `demo-check-${mode}.log`),
    });
  const rows: Row[] = [];
  const byHost = await start("header");
  let byPath: RunningIngress | undefined;
  try {
    byPath = await start("uri");
    const ways = listWays(sandboxes, byHost.port, byPath.port);
    for (const way of ways) await checkWay(rows, way);
    // Only the second sandbox may be woken.
    const way = ways.find(({ sandbox }) => sandbox === sandboxes.two);
    if (pause !== undefined && way !== undefined) {
      await record(rows, way.form, "paused, woken", () => checkWake(way, pause));
    }
    await checkRefusals(rows, byHost, byPath);
  } finally {
    const stopped = await Promise.all([byHost.stop(), byPath?.stop() ?? 0]);
    await record(rows, "", "SIGTERM", async () => {
      if (stopped.some((code) => code !== 0)) throw new Error(`exit codes ${stopped.join(", ")}`);
      return "both ingresses ended with 0";
    });
  }
  printRows(rows);
  return rows.every((row) => row.ok);
}

function listWays(sandboxes: Sandboxes, headerModePort: number, uriModePort: number): Way[] {
  const { one, two } = sandboxes;
  const base = `http://127.0.0.1:${headerModePort}`;
  const host = `${two.name}-${two.port}.localhost:${headerModePort}`;
  const uri = `http://127.0.0.1:${uriModePort}/${one.name}/${one.port}`;
  const route = { "OpenSandbox-Ingress-To": `${one.name}-${one.port}` };
  return [
    { form: "header", sandbox: one, base, publicBase: base, headers: route },
    // Uses a Host header, because some resolvers do not know names below localhost.
    { form: "host", sandbox: two, base, publicBase: `http://${host}`, headers: { Host: host } },
    { form: "uri", sandbox: one, base: uri, publicBase: uri, headers: {} },
  ];
}

async function checkWay(rows: Row[], way: Way): Promise<void> {
  await record(rows, way.form, "GET page", () => checkPage(way));
  await record(rows, way.form, "GET headers", () => checkHeaders(way));
  await record(rows, way.form, "POST 100 MB", () => checkUpload(way));
  await record(rows, way.form, "event stream", () => checkEvents(way));
  await record(rows, way.form, "WebSocket", () => checkWebSocket(way));
  await record(rows, way.form, "WebSocket, Origin", () => checkStrictWebSocket(way));
  await record(rows, way.form, "redirect", () => checkRedirect(way));
  await record(rows, way.form, "absolute path", () => checkAsset(way));
  await record(rows, way.form, "cookie", () => checkCookie(way));
}

async function checkRefusals(rows: Row[], byHost: RunningIngress, byPath: RunningIngress): Promise<void> {
  const origin = `http://127.0.0.1:${byHost.port}`;
  const admin = `http://127.0.0.1:${byHost.adminPort}`;
  const expectStatus = async (url: string, status: number, headers: Record<string, string> = {}) => {
    const response = await request(url, { headers });
    const text = (await response.text()).trim();
    if (response.status !== status) throw new Error(`${response.status} instead of ${status}: ${text}`);
    return `${status} ${text.split("\n")[0]?.slice(0, 60)}`;
  };
  await record(rows, "header", "no such sandbox", () =>
    expectStatus(`${origin}/`, 404, { "OpenSandbox-Ingress-To": "no-such-8080" }),
  );
  await record(rows, "host", "no route", () => expectStatus(`${origin}/`, 400));
  await record(rows, "uri", "no route", () => expectStatus(`http://127.0.0.1:${byPath.port}/`, 400));
  await record(rows, "", "GET /status.ok", () => expectStatus(`${origin}/status.ok`, 200));
  await record(rows, "admin", "GET /readyz", () => expectStatus(`${admin}/readyz`, 200));
  await record(rows, "admin", "GET /metrics", async () => {
    const text = await (await request(`${admin}/metrics`)).text();
    const count = text.match(/^opensandbox_ingress_http_request_count_total\{.*http_method="POST".*\} (\d+)/m)?.[1];
    if (count === undefined) throw new Error("no count of POST requests");
    return `${text.split("\n").length} lines, POST requests: ${count}`;
  });
}

async function record(rows: Row[], form: string, name: string, run: () => Promise<string>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing within ${CHECK_MAX_MS / 1000} s`)), CHECK_MAX_MS);
  });
  try {
    rows.push({ ok: true, form, name, detail: await Promise.race([run(), timeout]) });
  } catch (error) {
    rows.push({ ok: false, form, name, detail: error instanceof Error ? error.message : String(error) });
  } finally {
    clearTimeout(timer);
  }
}

async function checkWake(way: Way, pause: (name: string) => Promise<void>): Promise<string> {
  await pause(way.sandbox.name);
  const startedAt = performance.now();
  await requestOk(way, "/echo");
  return `200 after ${Math.round(performance.now() - startedAt)} ms`;
}

async function checkPage(way: Way): Promise<string> {
  const text = await (await requestOk(way, "/")).text();
  if (!text.includes(`<h1>${way.sandbox.name}</h1>`)) throw new Error(`not the page of ${way.sandbox.name}`);
  return `200, the page of ${way.sandbox.name}, ${text.length} bytes`;
}

async function checkHeaders(way: Way): Promise<string> {
  const answer = await readObject(await requestOk(way, "/echo?q=%2F&q=2"));
  const headers = toObject(answer["headers"]);
  const host = headers["host"];
  const client = headers["x-forwarded-for"];
  if ("opensandbox-ingress-to" in headers) throw new Error("the routing header reached the sandbox");
  if (host !== `${way.sandbox.address}:${way.sandbox.port}`) throw new Error(`the sandbox saw Host: ${String(host)}`);
  if (client !== "127.0.0.1") throw new Error(`the sandbox saw X-Forwarded-For: ${String(client)}`);
  const url = String(answer["url"]);
  if (!url.endsWith("/echo?q=%2F&q=2")) throw new Error(`the sandbox saw ${url}`);
  return `200, Host: ${host}, X-Forwarded-For: ${client}, query untouched`;
}

async function readObject(response: Response): Promise<Record<string, unknown>> {
  return toObject(await response.json());
}

function toObject(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null) throw new Error(`no JSON object: ${JSON.stringify(value)}`);
  return { ...value };
}

async function checkUpload(way: Way): Promise<string> {
  const hash = new Bun.CryptoHasher("sha256");
  const chunk = new Uint8Array(UPLOAD_CHUNK_BYTES);
  async function* chunks() {
    for (let sent = 0; sent < UPLOAD_BYTES; sent += UPLOAD_CHUNK_BYTES) {
      chunk.fill((sent / UPLOAD_CHUNK_BYTES) % 251);
      hash.update(chunk);
      yield chunk.slice();
    }
  }
  const started = performance.now();
  const response = await requestOk(way, "/upload", { method: "POST", body: chunks() });
  const answer = await readObject(response);
  const seconds = (performance.now() - started) / 1000;
  const sha256 = hash.digest("hex");
  if (answer["bytes"] !== UPLOAD_BYTES || answer["sha256"] !== sha256) {
    throw new Error(`sent ${UPLOAD_BYTES} bytes, ${sha256}; arrived ${JSON.stringify(answer)}`);
  }
  return `200, SHA-256 ${sha256.slice(0, 12)}… equal, ${(UPLOAD_BYTES / seconds / 1e6).toFixed(0)} MB/s`;
}

async function checkEvents(way: Way): Promise<string> {
  const response = await requestOk(way, `/events?count=${FRAMES}&interval=${FRAME_INTERVAL_MS}`);
  const frames = await readFrames(response.body);
  const sequence = frames.map((frame) => frame.sequence).join(" ");
  if (sequence !== EXPECTED_SEQUENCE) throw new Error(`frames ${sequence} arrived`);
  // If anything on the way held a frame back, it would arrive after the next one has been sent.
  const late = frames.find((frame, index) => frame.arrivedAt > (frames[index + 1]?.sentAt ?? Number.POSITIVE_INFINITY));
  if (late !== undefined) throw new Error(`frame ${late.sequence} arrived after the next one had been sent`);
  const slowest = Math.max(...frames.map((frame) => frame.arrivedAt - frame.sentAt));
  return `200, ${FRAMES} frames one by one, at most ${slowest} ms each`;
}

/** Reads `/events` of a sample sandbox, with the arrival time of each frame in milliseconds since the epoch. */
async function readFrames(body: ReadableStream<Uint8Array> | null) {
  const frames: { sequence: number; sentAt: number; arrivedAt: number }[] = [];
  const decoder = new TextDecoder();
  let rest = "";
  if (body === null) return frames;
  for await (const bytes of body) {
    const parts = (rest + decoder.decode(bytes, { stream: true })).split("\n\n");
    rest = parts.pop() ?? "";
    for (const part of parts) {
      const { sequence, sentAt } = toObject(JSON.parse(part));
      frames.push({ sequence: Number(sequence), sentAt: Number(sentAt), arrivedAt: Date.now() });
    }
  }
  return frames;
}

async function checkWebSocket(way: Way): Promise<string> {
  const socket = new WebSocket(`${way.base.replace("http", "ws")}/ws`, { headers: { ...way.headers } });
  socket.binaryType = "arraybuffer";
  const { promise: failed, reject } = Promise.withResolvers<never>();
  const fail = (event: CloseEvent) => reject(new Error(`closed, ${event.code} ${event.reason}`));
  socket.addEventListener("close", fail);
  const exchange = async (message: string | Uint8Array<ArrayBuffer>): Promise<unknown> => {
    const answered = once(socket, "message");
    socket.send(message);
    const event = await Promise.race([failed, answered]);
    if (!(event instanceof MessageEvent)) throw new Error("no message");
    const data: unknown = event.data;
    return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
  };
  try {
    await Promise.race([failed, once(socket, "open")]);
    const text = "grüße, sandbox";
    if ((await exchange(text)) !== text) throw new Error("the text came back changed");
    const bytes = new Uint8Array(LARGE_MESSAGE_BYTES).map((_, index) => index * 31);
    if (!Bun.deepEquals(await exchange(bytes), bytes)) throw new Error("the binary message came back changed");
  } finally {
    socket.removeEventListener("close", fail);
    socket.close(1000);
  }
  return "text and 1 MiB of binary came back";
}

function printRows(rows: readonly Row[]): void {
  const width = (key: "form" | "name") => Math.max(...rows.map((row) => row[key].length));
  for (const { ok, form, name, detail } of rows) {
    console.log(`${ok ? "ok  " : "FAIL"}  ${form.padEnd(width("form"))}  ${name.padEnd(width("name"))}  ${detail}`);
  }
  const failed = rows.filter((row) => !row.ok).length;
  console.log(failed === 0 ? `all ${rows.length} checks passed` : `${failed} of ${rows.length} checks failed`);
}
