import { join } from "node:path";

/** The result of a load generator. */
export interface LoadResult {
  readonly requests: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** One kind of request, repeated. */
export interface HttpRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly method?: "GET" | "POST";
  /** Bytes of the body of a POST. */
  readonly bodyBytes?: number;
  /**
   * Each connection carries one request. Servers that close without a `Connection: close` in the answer, as Bun's does
   * by itself, make wrk count a failed read behind each whole answer.
   */
  readonly closes?: boolean;
  /** Values of the named header, used in turn. */
  readonly rotate?: { readonly header: string; readonly values: readonly string[] };
}

/** How much load. */
export interface HttpLoad {
  readonly connections: number;
  readonly seconds: number;
}

/** A load generator that failed or saw failures: a number with failures in it would be too good. */
export class LoadError extends Error {}

/** Runs wrk with as many requests as the other side accepts. Throws a LoadError if any of them failed. */
export async function runWrk(request: HttpRequest, load: HttpLoad, folder: string): Promise<LoadResult> {
  const script = join(folder, "wrk.lua");
  await Bun.write(script, wrkScript(request));
  const output = await runLoadProgram([
    "wrk",
    "--threads=1",
    `--connections=${load.connections}`,
    `--duration=${Math.max(1, Math.round(load.seconds))}s`,
    "--timeout=10s",
    `--script=${script}`,
    ...Object.entries(request.headers).map(([name, value]) => `--header=${name}: ${value}`),
    request.url,
  ]);
  const [, line] = /^RESULT (.*)$/m.exec(output) ?? [];
  if (line === undefined) throw new LoadError(`wrk printed no result:\n${output}`);
  const [requests = 0, micros = 0, p50 = 0, p99 = 0, ...errors] = line.split(" ").map(Number);
  const [connect = 0, read = 0, ...others] = errors;
  const closesUnsaid = request.closes === true ? requests + load.connections : 0;
  if (read > closesUnsaid || [connect, ...others].some((count) => count > 0)) {
    throw new LoadError(`wrk saw failures (connect, read, write, status, timeout): ${errors.join(", ")}`);
  }
  return { requests, seconds: micros / 1e6, p50Ms: p50 / 1000, p99Ms: p99 / 1000 };
}

function wrkScript(request: HttpRequest): string {
  const lines = [`wrk.method = "${request.method ?? "GET"}"`];
  if (request.bodyBytes !== undefined) lines.push(`wrk.body = string.rep("x", ${request.bodyBytes})`);
  if (request.rotate !== undefined) {
    const { header, values } = request.rotate;
    lines.push(
      `local values = {${values.map((value) => JSON.stringify(value)).join(",")}}`,
      "local requests, at = {}, 0",
      "function init()",
      "  for index, value in ipairs(values) do",
      `    wrk.headers[${JSON.stringify(header)}] = value`,
      "    requests[index] = wrk.format()",
      "  end",
      "end",
      "function request() at = at % #requests + 1; return requests[at] end",
    );
  }
  lines.push(
    "function done(summary, latency)",
    "  local e = summary.errors",
    '  io.write(string.format("RESULT %d %d %d %d %d %d %d %d %d\\n", summary.requests, summary.duration,',
    "    latency:percentile(50), latency:percentile(99), e.connect, e.read, e.write, e.status, e.timeout))",
    "end",
  );
  return `${lines.join("\n")}\n`;
}

/** Runs hey at a fixed rate. Throws a LoadError if an answer is not a 200. */
export async function runHey(
  request: HttpRequest,
  load: HttpLoad,
  options: { readonly perSecond: number },
): Promise<LoadResult> {
  const output = await runLoadProgram([
    "hey",
    "-z",
    `${load.seconds}s`,
    "-c",
    String(load.connections),
    "-q",
    String(Math.max(1, Math.round(options.perSecond / load.connections))),
    ...Object.entries(request.headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`]),
    request.url,
  ]);
  const number = (pattern: RegExp): number => Number(pattern.exec(output)?.[1] ?? Number.NaN);
  const seconds = number(/Total:\s+([\d.]+) secs/);
  const statuses = [...output.matchAll(/\[(\d{3})\]\s+(\d+) responses/g)];
  const requests = Number(statuses.find(([, status]) => status === "200")?.[2] ?? 0);
  if (statuses.length !== 1 || output.includes("Error distribution") || requests === 0) {
    throw new LoadError(`hey saw failures:\n${output}`);
  }
  return {
    requests,
    seconds,
    p50Ms: 1000 * number(/50% in ([\d.]+) secs/),
    p99Ms: 1000 * number(/99% in ([\d.]+) secs/),
  };
}

/**
 * Downloads or uploads once with curl; `requests` are then gigabytes. Throws a LoadError if the result is not a
 * complete 200.
 */
export async function runCurl(
  request: HttpRequest,
  options: { readonly bytes: number; readonly uploadFile?: string },
): Promise<LoadResult> {
  const startedAt = performance.now();
  const output = await runLoadProgram([
    "curl",
    "--silent",
    "--show-error",
    "--noproxy",
    "*",
    "--output",
    "/dev/null",
    "--write-out",
    "%{http_code} %{size_download} %{size_upload}",
    ...(options.uploadFile === undefined ? [] : ["--upload-file", options.uploadFile, "--request", "POST"]),
    ...Object.entries(request.headers).flatMap(([name, value]) => ["--header", `${name}: ${value}`]),
    request.url,
  ]);
  const [status, down, up] = output.split(" ").map(Number);
  const moved = options.uploadFile === undefined ? down : up;
  if (status !== 200 || moved !== options.bytes) throw new LoadError(`curl: ${output}`);
  const seconds = (performance.now() - startedAt) / 1000;
  return { requests: options.bytes / 1e9, seconds, p50Ms: Number.NaN, p99Ms: Number.NaN };
}

/** Runs a program and returns its output. Throws a LoadError if it fails. */
export async function runLoadProgram(command: readonly string[]): Promise<string> {
  const child = Bun.spawn([...command], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [output, errors, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0) throw new LoadError(`${command[0]} ended with ${code}: ${errors.trim() || output.trim()}`);
  return output;
}
