// demo.ts: the demo after the build; `scripts/demo` calls it.
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runChecks } from "./lib/demo/demo-check.ts";
import { checkPortFree, DemoError, formatHost, runIngress, startSandboxes } from "./lib/demo/demo-stage.ts";
import { findFreePort } from "./lib/free-port.ts";
import { startDemoCluster, type DemoCluster } from "./lib/demo/demo-kubernetes.ts";
import { runDevLoop } from "./lib/demo/dev-loop.ts";

const ROOT = join(import.meta.dir, "..");
const SOURCE = join(ROOT, "src");
/** The binary that `scripts/demo` has just built. Tests use their own. */
const BINARY = process.env["INGRESS_BINARY"] ?? join(ROOT, "dist/ingress");

const USAGE = `Usage: ./scripts/demo [flags]

Starts two sample sandboxes and the ingress in front of them, and says what to try. Ctrl-C stops all of it.

  --check                 try everything once, on free ports, and exit 0 or 1
  --kubernetes            the sandboxes as objects of a real API server, see ./scripts/kube --help
  --provider-type=TYPE    batchsandbox (default) or agent-sandbox
  --mode=MODE             header (default) or uri
  --host=ADDRESS          where the ingress listens; default 127.0.0.1: whoever reaches it, reaches your loopback addresses
  --port=PORT             the ingress's; default 28888
  --admin-port=PORT       dashboard, probes and metrics; default 28889
  --sandbox-port=PORT     the sandboxes'; default 18080
`;

/** Ways to end a demo. Each stops everything. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

interface DemoOptions {
  readonly providerType: string;
  readonly mode: "header" | "uri";
  readonly host: string;
  readonly port: number;
  readonly adminPort: number;
  readonly sandboxPort: number;
  /** Puts the sandboxes into a real API server instead of manifests. */
  readonly kubernetes: boolean;
  /** Runs the ingress from source and restarts it after each change. */
  readonly watch: boolean;
}

async function runDemo(options: DemoOptions): Promise<number> {
  const stopAsked = new Promise<number>((resolve) => {
    for (const signal of SIGNALS) process.on(signal, () => resolve(0));
  });
  for (const port of [options.port, options.adminPort]) checkPortFree(options.host, port);
  const sandboxes = await startSandboxes({ port: options.sandboxPort });
  let cluster: DemoCluster | undefined;
  try {
    cluster = options.kubernetes ? await startDemoCluster(sandboxes.manifests) : undefined;
    const description = describeDemo(options, { sandboxes: [sandboxes.one, sandboxes.two], cluster });
    const sourceFlags = cluster?.providerFlags ?? [`--manifests=${sandboxes.manifests}`];
    const start = () =>
      runIngress({
        command: options.watch ? [process.execPath, join(SOURCE, "main.ts")] : [BINARY],
        providerFlags: [`--provider-type=${options.providerType}`, ...sourceFlags],
        mode: options.mode,
        host: options.host,
        port: options.port,
        adminPort: options.adminPort,
      });
    if (options.watch) {
      console.log(description);
      await runDevLoop({ folder: SOURCE, start, stopped: stopAsked });
      return 0;
    }
    const ingress = await start();
    console.log(description);
    const code = await Promise.race([stopAsked, ingress.exited.then((exitCode) => exitCode || 1)]);
    return (await ingress.stop()) || code;
  } finally {
    await cluster?.stop();
    await sandboxes.stop();
  }
}

interface DemoParts {
  readonly sandboxes: readonly { name: string; address: string; port: number }[];
  readonly cluster: DemoCluster | undefined;
}

function describeDemo(options: DemoOptions, { sandboxes, cluster }: DemoParts): string {
  const { port, adminPort } = options;
  const host = formatHost(options.host);
  const lines = ["", ...sandboxes.map((it) => `sandbox ${it.name} listens on ${it.address}:${it.port}`)];
  lines.push(`ingress listens on ${host}:${port}, probes and metrics on ${host}:${adminPort}`, "", "In a browser:");
  lines.push(`  http://${host}:${adminPort}/ (the dashboard)`);
  const bases = sandboxes.map((it) =>
    options.mode === "uri"
      ? `http://${host}:${port}/${it.name}/${it.port}/`
      : `http://${it.name}-${it.port}.localhost:${port}/`,
  );
  lines.push(...bases.map((base) => `  ${base}`), "", "In another terminal:");
  const [base] = bases;
  if (options.mode === "header") {
    const route = `${sandboxes[1]?.name}-${sandboxes[1]?.port}`;
    lines.push(`  curl -H 'OpenSandbox-Ingress-To: ${route}' http://${host}:${port}/echo`);
  }
  lines.push(
    `  curl ${base}echo`,
    `  curl -N '${base}events?interval=500'`,
    `  head -c 100000000 /dev/zero | curl -T - ${base}upload`,
    `  curl 'http://${host}:${adminPort}/readyz?verbose'`,
    `  curl http://${host}:${adminPort}/metrics`,
    ...(cluster === undefined ? [] : describeCluster(options, { cluster, last: sandboxes.at(-1) })),
    "",
    options.watch
      ? "The ingress starts again when a source file changes. Ctrl-C stops all of it."
      : "Ctrl-C stops all of it.",
    "",
  );
  return lines.join("\n");
}

function describeCluster(
  { providerType, port, host, mode }: DemoOptions,
  { cluster, last }: { readonly cluster: DemoCluster; readonly last: DemoParts["sandboxes"][number] | undefined },
): string[] {
  const { kubeconfig } = cluster;
  const isAgent = providerType === "agent-sandbox";
  const resource = isAgent ? "sandboxes" : "batchsandboxes";
  const paused = isAgent ? '{"spec":{"operatingMode":"Suspended"}}' : '{"spec":{"pause":true}}';
  const origin = `http://${formatHost(host)}:${port}`;
  const route = `${last?.name}-${last?.port}`;
  const asked =
    mode === "uri"
      ? `${origin}/${last?.name}/${last?.port}/echo`
      : `-H 'OpenSandbox-Ingress-To: ${route}' ${origin}/echo`;
  return [
    "",
    "The sandboxes are objects of a real API server; the ingress follows what you change:",
    `  export KUBECONFIG='${kubeconfig}'`,
    `  kubectl -n demo get ${resource}`,
    `  kubectl -n demo delete ${resource} demo-one`,
    "",
    "A request wakes a sandbox that is paused:",
    `  kubectl -n demo patch ${resource} ${last?.name} --type=merge -p '${paused}'`,
    `  curl -i ${asked}`,
  ];
}

async function checkDemo({ kubernetes }: { readonly kubernetes: boolean }): Promise<number> {
  const sandboxes = await startSandboxes({ port: 0 });
  let cluster: DemoCluster | undefined;
  try {
    cluster = kubernetes ? await startDemoCluster(sandboxes.manifests) : undefined;
    const providerFlags = cluster?.providerFlags ?? [`--manifests=${sandboxes.manifests}`];
    const pause = cluster?.pause;
    return (await runChecks({ binary: BINARY, sandboxes, providerFlags, pause, findPort: findFreePort })) ? 0 : 1;
  } finally {
    await cluster?.stop();
    await sandboxes.stop();
  }
}

function parsePort(text: string, flag: string): number {
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port < 1 || port > 65_535)
    throw new DemoError(`${flag} is not a port: ${text}`, { exitCode: 2 });
  return port;
}

const FLAGS = {
  check: { type: "boolean", default: false },
  help: { type: "boolean", short: "h", default: false },
  watch: { type: "boolean", default: false },
  kubernetes: { type: "boolean", default: false },
  "provider-type": { type: "string", default: "batchsandbox" },
  mode: { type: "string", default: "header" },
  host: { type: "string", default: "127.0.0.1" },
  port: { type: "string", default: "28888" },
  "admin-port": { type: "string", default: "28889" },
  "sandbox-port": { type: "string", default: "18080" },
} as const;

function parseFlags(args: string[]) {
  try {
    return parseArgs({ args, options: FLAGS }).values;
  } catch (error) {
    throw new DemoError(`${error instanceof Error ? error.message : String(error)} (see --help)`, { exitCode: 2 });
  }
}

function parseOptions(args: string[]): DemoOptions & { check: boolean; help: boolean } {
  const values = parseFlags(args);
  if (values.mode !== "header" && values.mode !== "uri")
    throw new DemoError("--mode must be header or uri", { exitCode: 2 });
  return {
    check: values.check,
    help: values.help,
    watch: values.watch,
    kubernetes: values.kubernetes,
    providerType: values["provider-type"],
    mode: values.mode,
    host: values.host,
    port: parsePort(values.port, "--port"),
    adminPort: parsePort(values["admin-port"], "--admin-port"),
    sandboxPort: parsePort(values["sandbox-port"], "--sandbox-port"),
  };
}

async function main(args: string[]): Promise<number> {
  try {
    const options = parseOptions(args);
    if (options.help) {
      process.stdout.write(USAGE);
      return 0;
    }
    return await (options.check ? checkDemo(options) : runDemo(options));
  } catch (error) {
    if (!(error instanceof DemoError)) throw error;
    console.error(`demo: ${error.message}`);
    return error.exitCode;
  }
}

process.exitCode = await main(Bun.argv.slice(2));
