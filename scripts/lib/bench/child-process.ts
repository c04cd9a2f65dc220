import type { Subprocess } from "bun";
import { join } from "node:path";

/** How long a helper process may take to report that it is ready. */
const READY_MAX_MS = 30_000;

/** A script of this folder in its own process, so that its work is not counted for another one. */
export interface Helper {
  readonly pid: number;
  /** The next line that it prints, as JSON. Throws if it ends or is silent for too long. */
  next(timeoutMs?: number): Promise<unknown>;
  /** Ends it. */
  stop(): Promise<void>;
}

/** Starts a script of this folder. */
export function startHelper(
  script: string,
  args: readonly string[],
  options: { readonly environment?: Readonly<Record<string, string>> } = {},
): Helper {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, script), ...args], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
    env: { ...process.env, ...options.environment },
  });
  const lines = readLines(child);
  return {
    pid: child.pid,
    async next(timeoutMs = READY_MAX_MS) {
      const line = await withinTime(lines.next(), timeoutMs, script);
      if (line.done === true) throw new Error(`${script} ended: ${await child.exited}`);
      return JSON.parse(line.value) as unknown;
    },
    async stop() {
      void child.stdin.end();
      const killer = setTimeout(() => child.kill("SIGKILL"), 2_000);
      await child.exited;
      clearTimeout(killer);
    },
  };
}

/** For a helper: ends this process when its parent closes its standard input or dies. */
export function endWithParent(): void {
  void (async () => {
    for await (const chunk of Bun.stdin.stream()) void chunk;
    process.exit(0);
  })();
}

async function* readLines(child: Subprocess<"pipe", "pipe", "inherit">): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of child.stdout) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
}

function withinTime<T>(promise: Promise<T>, timeoutMs: number, what: string): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`${what} was silent for ${timeoutMs / 1000} s`)), timeoutMs);
  return Promise.race([promise, late.promise]).finally(() => clearTimeout(timer));
}

/** Reads the named numbers from a helper's output. Throws if one is missing. */
export function readNumbers<Name extends string>(
  value: unknown,
  names: readonly Name[],
): Readonly<Record<Name, number>> {
  if (!hasNumbers(value, names)) throw new Error(`numbers ${names.join(", ")} are missing in ${JSON.stringify(value)}`);
  return value;
}

function hasNumbers<Name extends string>(value: unknown, names: readonly Name[]): value is Record<Name, number> {
  if (typeof value !== "object" || value === null) return false;
  const found = new Map(Object.entries(value));
  return names.every((name) => typeof found.get(name) === "number");
}
