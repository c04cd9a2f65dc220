import { join } from "node:path";
import type { Visit } from "./try-app.ts";

/** Of a client's whole run, in milliseconds. */
const CLIENT_MAX_MS = 90_000;

export interface ClientOptions {
  readonly command: readonly string[];
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/**
 * Runs a client without a browser to its end, in which the names of places lead to this machine (Node.js and Python), and gives
 * what it wrote. Its lines count as evidence. Throws when it fails.
 */
export async function runClient(visit: Visit, options: ClientOptions): Promise<string> {
  const child = Bun.spawn([...options.command], {
    env: {
      ...process.env,
      NODE_OPTIONS: `--require=${join(import.meta.dir, "names.cjs")}`,
      PYTHONPATH: import.meta.dir,
      PYTHONDONTWRITEBYTECODE: "1",
      ...options.env,
    },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: CLIENT_MAX_MS,
    killSignal: "SIGKILL",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  visit.log.push(...`${stdout}\n${stderr}`.split("\n"));
  if ((await child.exited) !== 0) throw new Error(`${options.command[0]} failed: ${stderr.trim() || stdout.trim()}`);
  return stdout;
}
