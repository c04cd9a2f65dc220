// The process edge: the only file that touches `process`. What it needs before anything else is loaded stands first.
import { replaceProcess } from "./process/replace-process.ts";
import { planRestart, RESTART_MARKER } from "./process/runtime-settings.ts";
import { setSignalMask } from "./process/signal-mask.ts";
import { StopSignals } from "./process/stop-signals.ts";

/** Exit codes: 0 clean, 1 failure, 2 usage. */
type ExitCode = 0 | 1 | 2;

/**
 * As process 1 of a container, SIGTERM is ignored until somebody handles it: so before anything that takes time.
 * A second signal ends the program at once.
 */
let onStopSignal: () => void = () => process.exit(0);
const stopSignals = new StopSignals();
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.on(signal, () => {
    const order = stopSignals.receive(signal, performance.now());
    if (order === "exit") process.exit(1);
    if (order === "drain") onStopSignal();
  });
}
const isRestarted = process.env[RESTART_MARKER] !== undefined;
delete process.env[RESTART_MARKER];
// What was sent while the program started itself again comes now.
if (isRestarted) setSignalMask("release");

/** Turns of the event loop after which the handler of a signal that has come has been called. */
const SIGNAL_TURNS = 2;

await main();

async function main(): Promise<void> {
  const { parseConfig } = await import("./config/parse-config.ts");
  const args = readArguments();
  const parsed = parseConfig(args, process.env);
  switch (parsed.kind) {
    case "help":
      return finish(0, { stdout: parsed.text });
    case "version": {
      const { formatBuildInfo } = await import("./version.ts");
      return finish(0, { stdout: `opensandbox-ingress ${formatBuildInfo()}\n` });
    }
    case "command":
      return runCommand(parsed.name, parsed.args);
    case "faults":
      return finish(2, { stderr: `${parsed.faults.map((fault) => `${fault}\n`).join("")}${parsed.usage}` });
    case "run":
      await restartWithRuntimeSettings(args, parsed.config.maxHeaderBytes);
      return runIngress(parsed.config);
  }
}

async function runIngress(config: import("./config/parse-config.ts").Config): Promise<void> {
  const [{ createIngress }, { systemClock }] = await Promise.all([import("./ingress.ts"), import("./clock.ts")]);
  const startedAt = process.cpuUsage();
  const ingress = await createIngress(config, {
    clock: systemClock,
    process: {
      cpuMs: () => {
        const { user, system } = process.cpuUsage(startedAt);
        return (user + system) / 1000;
      },
      residentBytes: () => process.memoryUsage.rss(),
      collectGarbage: () => Bun.gc(true),
    },
    environment: process.env,
    resolverConfig: await readResolverConfig(),
    instance: crypto.randomUUID().slice(0, 8),
  });
  const { logger } = ingress;
  const stopped = Promise.withResolvers<void>();
  const stop = () => void ingress.drain().then(stopped.resolve, stopped.reject);
  onStopSignal = stop;
  let exitCode: ExitCode = 0;
  // It belongs to no request, so nobody knows what is still right: what is open ends in order, and another process begins.
  const onFault = (what: string, thrown: unknown) => {
    exitCode = 1;
    ingress.reportFault(what, thrown);
    stop();
  };
  process.on("uncaughtException", (error) => onFault("uncaught exception", error));
  process.on("unhandledRejection", (error) => onFault("unhandled rejection", error));

  try {
    // A drain that is over ends the program even where the start hangs, on a file system that does not answer say.
    await Promise.race([ingress.start().then(() => stopped.promise), stopped.promise]);
  } catch (error) {
    logger.error("cannot go on", { error: error instanceof Error ? error.message : String(error) });
    await logger.flush();
    return finish(1);
  }
  return finish(exitCode);
}

/** Empty where there is no such file: names are then those of an ordinary cluster. */
async function readResolverConfig(): Promise<string> {
  const { readFile } = await import("node:fs/promises");
  return readFile("/etc/resolv.conf", "utf8").catch(() => "");
}

async function runCommand(
  name: import("./config/parse-config.ts").CommandName,
  args: readonly string[],
): Promise<void> {
  if (name === "explain" || name === "sandboxes") return runLookCommand(name, args);
  const [{ runSignCommand }, { runVerifyCommand }, { readFileSync }] = await Promise.all([
    import("./commands/sign-command.ts"),
    import("./commands/verify-command.ts"),
    import("node:fs"),
  ]);
  const run = name === "sign" ? runSignCommand : runVerifyCommand;
  const result = run(args, { readFile: (path) => readFileSync(path, "utf8"), nowMs: Date.now() });
  return finish(result.exitCode, result);
}

async function runLookCommand(name: "explain" | "sandboxes", args: readonly string[]): Promise<void> {
  const [{ runExplainCommand }, { runSandboxesCommand }, { systemClock }, { readFileSync }] = await Promise.all([
    import("./commands/explain-command.ts"),
    import("./commands/sandboxes-command.ts"),
    import("./clock.ts"),
    import("node:fs"),
  ]);
  const run = name === "explain" ? runExplainCommand : runSandboxesCommand;
  const result = await run(args, {
    readFile: (path) => readFileSync(path, "utf8"),
    nowMs: Date.now(),
    clock: systemClock,
    environment: process.env,
    resolverConfig: await readResolverConfig(),
  });
  return finish(result.exitCode, result);
}

/** Starts the program again, once, where the environment is not what the runtime needs; see `planRestart`. */
async function restartWithRuntimeSettings(args: readonly string[], maxHeaderBytes: number): Promise<void> {
  const plan = planRestart(process.env, { maxHeaderBytes, isRestarted });
  if (plan.kind === "go-on") return;
  if (plan.kind === "incomplete") return warnAboutSettings(`not in effect after a restart: ${plan.names.join(", ")}`);
  const script = isCompiled() ? [] : [Bun.main];
  const argv = [process.argv0, ...script, ...args];
  setSignalMask("hold");
  // What came before is handled first: its handler is called when the event loop turns, and ends the program.
  for (let turn = 0; turn < SIGNAL_TURNS; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
  replaceProcess({ path: process.execPath, argv, env: plan.env });
  setSignalMask("release");
  const execve = process.execve?.bind(process);
  if (execve === undefined) return warnAboutSettings("this platform cannot replace a process");
  try {
    execve(process.execPath, argv, plan.env);
  } catch (error) {
    warnAboutSettings(error instanceof Error ? error.message : String(error));
  }
}

function warnAboutSettings(reason: string): void {
  process.stderr.write(
    `Cannot set the runtime's limits (${reason}): at most 256 requests at a time may be forwarded.\n`,
  );
}

/** Without the program's own name. */
function readArguments(): readonly string[] {
  return process.argv.slice(2);
}

/** A compiled program finds its own files in a file system of Bun's. */
function isCompiled(): boolean {
  return Bun.main.startsWith("/$bunfs/");
}

async function finish(
  code: ExitCode,
  output: { readonly stdout?: string; readonly stderr?: string } = {},
): Promise<never> {
  await writeWhole(process.stdout, output.stdout);
  await writeWhole(process.stderr, output.stderr);
  process.exit(code);
}

/** Not `Bun.write`, which truncates a file that standard output was redirected to when there is nothing to write. */
function writeWhole(stream: NodeJS.WriteStream, text: string | undefined): Promise<void> {
  if (text === undefined || text === "") return Promise.resolve();
  return new Promise((resolve) => stream.write(text, () => resolve()));
}
