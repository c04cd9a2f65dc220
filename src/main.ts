// The process edge: the only file that touches `process`. What it needs before anything else is loaded stands first.

/** Exit codes: 0 clean, 1 failure, 2 usage. */
type ExitCode = 0 | 1 | 2;

/**
 * As process 1 of a container, SIGTERM is ignored until somebody handles it: so before anything that takes time.
 * The second signal ends the program at once.
 */
let onStopSignal: () => void = () => process.exit(0);
let stopSignals = 0;
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.on(signal, () => {
    if (++stopSignals > 1) process.exit(1);
    onStopSignal();
  });
}

await main();

async function main(): Promise<void> {
  const { parseConfig } = await import("./config.ts");
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
      restartWithRuntimeSettings(args, parsed.config.maxHeaderBytes);
      return runIngress(parsed.config);
  }
}

async function runIngress(config: import("./config.ts").Config): Promise<void> {
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
    },
    environment: process.env,
    resolverConfig: await readResolverConfig(),
    instance: (Date.now() % 36 ** 6).toString(36) + process.pid.toString(36),
  });
  const { logger } = ingress;
  // A fault in one place must not end everybody's connections; it is a bug, and must be seen.
  process.on("uncaughtException", (error) => logger.error("uncaught exception", { error: describe(error) }));
  process.on("unhandledRejection", (error) => logger.error("unhandled rejection", { error: describe(error) }));

  const stopped = Promise.withResolvers<void>();
  onStopSignal = () => void ingress.drain().then(stopped.resolve, stopped.reject);
  try {
    // A drain that is over ends the program even where the start hangs, on a file system that does not answer say.
    await Promise.race([ingress.start().then(() => stopped.promise), stopped.promise]);
  } catch (error) {
    logger.error("cannot go on", { error: error instanceof Error ? error.message : String(error) });
    await logger.flush();
    return finish(1);
  }
  return finish(0);
}

/** Empty where there is no such file: names are then those of an ordinary cluster. */
async function readResolverConfig(): Promise<string> {
  const { readFile } = await import("node:fs/promises");
  return readFile("/etc/resolv.conf", "utf8").catch(() => "");
}

async function runCommand(name: "sign" | "verify", args: readonly string[]): Promise<void> {
  const [{ runSignCommand }, { runVerifyCommand }, { readFileSync }] = await Promise.all([
    import("./commands/sign-command.ts"),
    import("./commands/verify-command.ts"),
    import("node:fs"),
  ]);
  const run = name === "sign" ? runSignCommand : runVerifyCommand;
  const result = run(args, { readFile: (path) => readFileSync(path, "utf8"), nowMs: Date.now() });
  return finish(result.exitCode, result);
}

/**
 * Bun reads these settings once, at its own start, so the program starts itself again with them, keeping its process id:
 * - the number of simultaneous `fetch`es, 256 by default: quiet event streams would soon hold them all;
 * - the life of a DNS answer, 30 s by default: a sandbox that restarts behind its name changes address;
 * - the size of a request's head, 16 KiB by default;
 * - how long freed memory is kept for the next request before the system has it back, 10 ms by default: faulting it in
 *   again is 4 % of a small request and 17 % of a megabyte. This one the operator may choose.
 * `BUN_OPTIONS` is replaced, not extended: nothing from outside gets to choose the runtime's options.
 */
function restartWithRuntimeSettings(args: readonly string[], maxHeaderBytes: number): void {
  const settings: Readonly<Record<string, string>> = {
    BUN_CONFIG_MAX_HTTP_REQUESTS: "65535",
    BUN_CONFIG_DNS_TIME_TO_LIVE_SECONDS: "1",
    BUN_OPTIONS: `--max-http-header-size=${maxHeaderBytes}`,
    // Milliseconds: long enough to serve the next requests, short enough to be gone when they stop.
    MIMALLOC_PURGE_DELAY: process.env["MIMALLOC_PURGE_DELAY"] ?? "1000",
  };
  if (Object.entries(settings).every(([name, value]) => process.env[name] === value)) return;
  const execve = process.execve?.bind(process);
  if (execve === undefined) return warnAboutSettings("this platform cannot replace a process");
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) if (value !== undefined) env[name] = value;
  const script = isCompiled() ? [] : [Bun.main];
  try {
    execve(process.execPath, [process.argv0, ...script, ...args], { ...env, ...settings });
  } catch (error) {
    warnAboutSettings(error instanceof Error ? error.message : String(error));
  }
}

function warnAboutSettings(reason: string): void {
  process.stderr.write(
    `Cannot start again with the runtime's limits raised (${reason}): at most 256 requests at a time are forwarded.\n`,
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

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
