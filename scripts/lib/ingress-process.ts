import { startServerProcess } from "./server-process.ts";

export interface IngressProcess extends AsyncDisposable {
  readonly pid: number;
  /** `http://127.0.0.1:<port>`, no slash at its end. */
  readonly origin: string;
  readonly adminOrigin: string;
  /** Resolves with the exit code, or the signal's name. */
  readonly exited: Promise<number | string>;
  kill(signal: NodeJS.Signals): void;
  /** Its output so far, both streams. */
  readOutput(): string;
}

export interface IngressProcessOptions {
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

export interface IngressStartOptions extends IngressProcessOptions {
  /** The binary is Bun, and this is the script that it runs. */
  readonly script?: string;
  /** Passes no flag with an address to listen on. Default: 127.0.0.1. */
  readonly defaultHosts?: true;
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
 * Starts an ingress on free ports and resolves when `/status.ok` answers. Disposing of it kills it. The given flags
 * come last, so they override. Throws with its output if it ends before it answers.
 */
export async function startIngressProcess(
  binary: string,
  flags: readonly string[],
  options: IngressStartOptions = {},
): Promise<IngressProcess> {
  const hosts = options.defaultHosts === true ? [] : ["--host=127.0.0.1", "--admin-host=127.0.0.1"];
  const script = options.script === undefined ? [] : [options.script];
  const server = await startServerProcess({
    name: "the ingress",
    ports: 2,
    command: ([port, adminPort]) => {
      const places = [...hosts, `--port=${port}`, `--admin-port=${adminPort}`];
      return [binary, ...script, ...places, ...flags];
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
