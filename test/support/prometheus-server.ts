import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startServerProcess } from "../../scripts/lib/server-process.ts";
import { dig } from "./kustomize.ts";
import { listOf } from "./monitoring.ts";
import { requirePart } from "./requires.ts";
import { tempDir } from "./temp-dir.ts";

/** Whether Debian's `prometheus`, with `promtool`, is installed. */
export const hasPrometheus = requirePart("prometheus", { get: "apt-get install prometheus" });

/** A real Prometheus that scrapes one target and evaluates rules. */
export interface PrometheusServer extends AsyncDisposable {
  /** The series that a query gives now. Throws an Error with the server's message if it is invalid. */
  query(expr: string): Promise<readonly unknown[]>;
  /** All rules, as the HTTP API has them. */
  rules(): Promise<readonly unknown[]>;
}

export interface PrometheusOptions {
  /** `host:port` of what is scraped at `/metrics`, and the labels that it gets. */
  readonly target: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly job: string;
  /** The content of a rule file. */
  readonly rules: unknown;
}

/** Scrapes and evaluates each half second, so that a rate needs seconds and not minutes. */
const INTERVAL = "500ms";

export async function startPrometheus({ target, labels, job, rules }: PrometheusOptions): Promise<PrometheusServer> {
  const dir = tempDir();
  mkdirSync(join(dir.path, "data"));
  // YAML is a superset of JSON.
  writeFileSync(join(dir.path, "rules.yaml"), JSON.stringify(rules));
  const config = {
    global: { scrape_interval: INTERVAL, scrape_timeout: INTERVAL, evaluation_interval: INTERVAL },
    rule_files: ["rules.yaml"],
    scrape_configs: [{ job_name: job, static_configs: [{ targets: [target], labels }] }],
  };
  writeFileSync(join(dir.path, "prometheus.yaml"), JSON.stringify(config));
  const server = await startServerProcess({
    name: "prometheus",
    ports: 1,
    command: ([port]) => [
      "prometheus",
      `--config.file=${join(dir.path, "prometheus.yaml")}`,
      `--storage.tsdb.path=${join(dir.path, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
      "--log.level=warn",
    ],
    isReady: async ({ ports: [port] }) => (await fetch(`http://127.0.0.1:${port}/-/ready`, { proxy: false })).ok,
  });
  const get = async (path: string): Promise<unknown> => {
    const response = await fetch(`http://127.0.0.1:${server.ports[0]}${path}`, { proxy: false });
    const answer: unknown = await response.json();
    if (dig(answer, "status") === "success") return dig(answer, "data");
    throw new Error(`Prometheus: ${String(dig(answer, "error"))} (${path})`);
  };
  return {
    query: async (expr) => listOf(dig(await get(`/api/v1/query?query=${encodeURIComponent(expr)}`), "result")),
    rules: async () =>
      listOf(dig(await get("/api/v1/rules"), "groups")).flatMap((group) => listOf(dig(group, "rules"))),
    async [Symbol.asyncDispose]() {
      await server.stop();
      dir[Symbol.dispose]();
    },
  };
}

/** Runs promtool on a file of this content, or on its standard input. Gives all that it says. */
export async function runPromtool(
  args: readonly string[],
  input: string,
  options: { readonly cwd?: string } = {},
): Promise<{ readonly exitCode: number; readonly output: string }> {
  const child = Bun.spawn(["promtool", ...args], {
    stdin: Buffer.from(input),
    stdout: "pipe",
    stderr: "pipe",
    ...(options.cwd !== undefined && { cwd: options.cwd }),
  });
  const [stdout, stderr, exitCode] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { exitCode, output: stdout + stderr };
}
