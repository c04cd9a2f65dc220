import type { Ending } from "./test-report.ts";

/** The exit code of a shell whose command was interrupted. */
const INTERRUPTED_EXIT_CODE = 130;

export interface RunLimitedOptions {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** In milliseconds. After it, the command and all its children are killed. */
  readonly maxMs: number;
}

/**
 * Runs a command with this process's output, and resolves when it has ended. An interrupt ends both. Throws if the
 * program is missing.
 */
export async function runLimited(command: readonly string[], options: RunLimitedOptions): Promise<Ending> {
  // Its own process group, so that a kill also ends the command's children.
  const child = Bun.spawn([...command], {
    cwd: options.cwd,
    env: options.env,
    stdin: "ignore",
    stdout: "inherit",
    stderr: "inherit",
    detached: true,
  });
  const killGroup = () => {
    try {
      process.kill(-child.pid, "SIGKILL");
    } catch {
      // It has just ended by itself.
    }
  };
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    killGroup();
  }, options.maxMs);
  const interrupt = () => {
    killGroup();
    process.exit(INTERRUPTED_EXIT_CODE);
  };
  process.on("SIGINT", interrupt).on("SIGTERM", interrupt);
  await child.exited;
  process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  clearTimeout(timer);
  return { exitCode: child.exitCode, timedOut };
}
