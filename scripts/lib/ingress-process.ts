import { startServerProcess } from "./server-process.ts";

export interface IngressProcess extends AsyncDisposable {
  readonly pid: number;
  /** `http://127.0.0.1:<port>`, no slash at its end. */
  readonly origin: string;
  readonly adminOrigin: string;
  /** Resolves with the exit code, or the signal's name. */
  readonly exited: Promise<number | string>;
  kill(signal: NodeJS.Signals): void;
  /** Everything it wrote so far, both streams. */
  readOutput(): string;
}

export interface IngressProcessOptions {
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** Runs a command to its end. */
export async function runToEnd(command: readonly string[], options: IngressProcessOptions = {}) {
  const child = Bun.spawn([...command], {
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { exitCode: await child.exited, stdout, stderr };
}

/**
 * Starts an ingress on free ports and resolves when `/status.ok` answers; disposing of it kills it. Flags come after the ports',
 * so that they win. Throws, with its output, when it ends before it answers.
 */
export async function startIngressProcess(
  binary: string,
  flags: readonly string[],
  options: IngressProcessOptions = {},
): Promise<IngressProcess> {
  const server = await startServerProcess({
    name: "the ingress",
    ports: 2,
    command: ([port, adminPort]) => {
      const places = ["--host=127.0.0.1", `--port=${port}`, "--admin-host=127.0.0.1", `--admin-port=${adminPort}`];
      return [binary, ...places, ...flags];
    },
    isReady: ({ ports: [port] }) => isAnswering(`http://127.0.0.1:${port}/status.ok`),
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const [port, adminPort] = server.ports;
  return {
    pid: server.pid,
    origin: `http://127.0.0.1:${port}`,
    adminOrigin: `http://127.0.0.1:${adminPort}`,
    exited: server.exited,
    kill: server.kill,
    readOutput: server.readOutput,
    [Symbol.asyncDispose]: () => server.stop(),
  };
}

/** Whether a GET is answered with success. */
export async function isAnswering(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { proxy: false });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}
