// The process edge: the only file that uses `process`. Signal handling comes before all other imports.
import { prepareReplacement } from "./process/replace-process.ts";
import { planRestart, RESTART_MARKER } from "./process/runtime-settings.ts";
import { setSignalMask } from "./process/signal-mask.ts";
import { StopSignals } from "./process/stop-signals.ts";
import { messageOf } from "./values.ts";

/** Exit codes: 0 clean, 1 failure, 2 usage. */
type ExitCode = 0 | 1 | 2;

/**
 * As process 1 of a container, the program ignores SIGTERM until it has a handler, so handlers come before any slow
 * work. A second signal ends the program at once.
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
// Signals that arrived during the restart are delivered now.
if (isRestarted) setSignalMask("release");

/** Turns of the event loop after which the handler of a received signal has run. */
const SIGNAL_TURNS = 2;

await main();

async function main(): Promise<void> {
  const { HOST_INFO_PATH, parseConfig } = await import("./config/parse-config.ts");
  const args = readArguments();
  const parsed = parseConfig(args, process.env, { hostInfo: await readIfPresent(HOST_INFO_PATH) });
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
  const [{ createIngress }, { systemClock }] = await Promise.all([
    import("./ingress/ingress.ts"),
    import("./clock.ts"),
  ]);
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
    // Where the file is missing, the names are those of an ordinary cluster.
    resolverConfig: await readIfPresent("/etc/resolv.conf"),
    instance: crypto.randomUUID().slice(0, 8),
  });
  const { logger } = ingress;
  const stopped = Promise.withResolvers<void>();
  const stop = () => void ingress.drain().then(stopped.resolve, stopped.reject);
  onStopSignal = stop;
  let exitCode: ExitCode = 0;
  // The fault belongs to no request, so any state may be wrong. Open requests end in order, and a new process starts.
  const onFault = (what: string, thrown: unknown) => {
    exitCode = 1;
    ingress.reportFault(what, thrown);
    stop();
  };
  process.on("uncaughtException", (error) => onFault("uncaught exception", error));
  process.on("unhandledRejection", (error) => onFault("unhandled rejection", error));

  try {
    // The end of a drain ends the program even if the start hangs, for example on a file system that does not answer.
    await Promise.race([ingress.start().then(() => stopped.promise), stopped.promise]);
  } catch (error) {
    logger.error("cannot start", { error: messageOf(error) });
    await logger.flush();
    return finish(1);
  }
  return finish(exitCode);
}

/** The text of a file of the system; empty where it cannot be read. */
async function readIfPresent(path: string): Promise<string> {
  const { readFile } = await import("node:fs/promises");
  return readFile(path, "utf8").catch(() => "");
}

async function runCommand(
  name: import("./config/parse-config.ts").CommandName,
  args: readonly string[],
): Promise<void> {
  if (name === "explain" || name === "sandboxes") return runLookCommand(name, args);
  if (name === "doctor") return runDoctor(args);
  if (name === "ready") return runReady(args);
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
    resolverConfig: await readIfPresent("/etc/resolv.conf"),
  });
  return finish(result.exitCode, result);
}

async function runReady(args: readonly string[]): Promise<void> {
  const { runReadyCommand } = await import("./commands/ready-command.ts");
  // Interrupted is not "ready".
  onStopSignal = () => process.exit(1);
  const result = await runReadyCommand(args, {
    monotonic: () => performance.now(),
    pause: (delayMs) => Bun.sleep(delayMs),
  });
  return finish(result.exitCode, result);
}

async function runDoctor(args: readonly string[]): Promise<void> {
  const [{ runDoctorCommand }, { examineHere }] = await Promise.all([
    import("./commands/doctor-command.ts"),
    import("./doctor/here.ts"),
  ]);
  const environment = process.env;
  // Interrupted is not "all fine".
  onStopSignal = () => process.exit(1);
  const result = await runDoctorCommand(args, { environment, examine: (config) => examineHere(config, environment) });
  return finish(result.exitCode, result);
}

/** Starts the program again, once, if the runtime needs another environment; see `planRestart`. */
async function restartWithRuntimeSettings(args: readonly string[], maxHeaderBytes: number): Promise<void> {
  const plan = planRestart(process.env, { maxHeaderBytes, isRestarted });
  if (plan.kind === "continue") return;
  if (plan.kind === "incomplete") return warnAboutSettings(`not in effect after a restart: ${plan.names.join(", ")}`);
  const script = isCompiled() ? [] : [Bun.main];
  const argv = [process.argv0, ...script, ...args];
  const replace = prepareReplacement({ path: process.execPath, argv, env: plan.env });
  setSignalMask("hold");
  // Handle earlier signals first: their handlers run when the event loop turns, and end the program.
  for (let turn = 0; turn < SIGNAL_TURNS; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
  replace?.();
  setSignalMask("release");
  const execve = process.execve?.bind(process);
  if (execve === undefined) return warnAboutSettings("this platform cannot replace a process");
  try {
    execve(process.execPath, argv, plan.env);
  } catch (error) {
    warnAboutSettings(messageOf(error));
  }
}

function warnAboutSettings(reason: string): void {
  process.stderr.write(
    `Cannot set the runtime's limits (${reason}): the ingress forwards at most 256 requests at a time.\n`,
  );
}

/** Without the program's own name. */
function readArguments(): readonly string[] {
  return process.argv.slice(2);
}

/** A compiled program finds its own files in Bun's virtual file system. */
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

/** Not `Bun.write`: with nothing to write, it truncates a file that standard output is redirected to. */
function writeWhole(stream: NodeJS.WriteStream, text: string | undefined): Promise<void> {
  if (text === undefined || text === "") return Promise.resolve();
  return new Promise((resolve) => stream.write(text, () => resolve()));
}
