import { rmSync } from "node:fs";
import { join } from "node:path";
import { LoadError, type LoadResult, runLoadProgram } from "./http-load.ts";
import { LatencyHistogram } from "./statistics.ts";

/** Requests over HTTP/2. The URLs are used in turn on each connection; all must have the same origin. */
export interface Http2Request {
  readonly urls: readonly string[];
  /** The same for every request: h2load cannot change them. */
  readonly headers: Readonly<Record<string, string>>;
}

/** How much load. */
export interface Http2Load {
  readonly connections: number;
  /** Simultaneous requests on each connection. */
  readonly streams: number;
  readonly seconds: number;
}

/** Runs h2load with as many requests as the other side accepts. Throws a LoadError if any of them failed. */
export async function runH2load(request: Http2Request, load: Http2Load, folder: string): Promise<LoadResult> {
  const urlsFile = join(folder, "h2load-urls");
  const logFile = join(folder, "h2load.log");
  await Bun.write(urlsFile, `${request.urls.join("\n")}\n`);
  rmSync(logFile, { force: true });
  const output = await runLoadProgram([
    "h2load",
    "--threads=1",
    `--clients=${load.connections}`,
    `--max-concurrent-streams=${load.streams}`,
    `--duration=${Math.max(1, Math.round(load.seconds))}`,
    // It prints only the mean and the extremes. The log has a line for each request.
    `--log-file=${logFile}`,
    `--input-file=${urlsFile}`,
    ...Object.entries(request.headers).map(([name, value]) => `--header=${name}: ${value}`),
  ]);
  const counts = parseH2load(output);
  const histogram = new LatencyHistogram();
  for (const micros of readLatencies(await Bun.file(logFile).text())) histogram.add(micros / 1000);
  return { ...counts, p50Ms: histogram.percentile(0.5), p99Ms: histogram.percentile(0.99) };
}

/** Reads h2load's summary. Throws a LoadError if it tells of failures or of no request. */
export function parseH2load(output: string): Pick<LoadResult, "requests" | "seconds"> {
  const seconds = Number(/^finished in ([\d.]+)s,/m.exec(output)?.[1]);
  const count = (word: string): number => Number(new RegExp(`^requests:.* (\\d+) ${word}`, "m").exec(output)?.[1]);
  const requests = count("succeeded");
  const failed = count("failed") + count("errored") + count("timeout");
  const others = [...output.matchAll(/ (\d+) [345]xx/g)].reduce((sum, [, number]) => sum + Number(number), 0);
  if (!(seconds > 0) || !(requests > 0) || failed > 0 || others > 0) {
    throw new LoadError(`h2load saw failures:\n${output}`);
  }
  return { requests, seconds };
}

/** The third column of each line, in microseconds; the first two are the start and the status. */
function* readLatencies(log: string): Generator<number> {
  for (const line of log.split("\n")) {
    const micros = line.split("\t")[2];
    if (micros !== undefined) yield Number(micros);
  }
}
