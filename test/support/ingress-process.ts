import { findFreePort } from "../../scripts/demo-stage.ts";
import { eventually } from "./eventually.ts";

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

export interface IngressStartOptions extends IngressProcessOptions {
  /** The binary is Bun, and this is what it runs. */
  readonly script?: string;
  /** No flag names an address to listen on; default: 127.0.0.1. */
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
 * Starts an ingress on free ports and resolves when `/status.ok` answers; disposing of it kills it. Flags come after the ports',
 * so that they win. Throws, with its output, when it ends before it answers.
 */
export async function startIngressProcess(
  binary: string,
  flags: readonly string[],
  options: IngressStartOptions = {},
): Promise<IngressProcess> {
  const port = findFreePort();
  const adminPort = findFreePort();
  const hosts = options.defaultHosts === true ? [] : ["--host=127.0.0.1", "--admin-host=127.0.0.1"];
  const places = [...hosts, `--port=${port}`, `--admin-port=${adminPort}`];
  const script = options.script === undefined ? [] : [options.script];
  const child = Bun.spawn([binary, ...script, ...places, ...flags], {
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const output: string[] = [];
  const drained = Promise.all([collect(child.stdout, output), collect(child.stderr, output)]);
  const exited = Promise.all([child.exited, drained]).then(() => child.signalCode ?? child.exitCode ?? "unknown");
  const origin = `http://127.0.0.1:${port}`;
  const dispose = async () => {
    child.kill("SIGKILL");
    await exited;
  };
  try {
    await eventually(async () => {
      const ended = child.exitCode ?? child.signalCode;
      return ended !== null || (await isAnswering(`${origin}/status.ok`));
    });
    if (child.exitCode !== null || child.signalCode !== null) throw new Error("it ended at once");
  } catch (error) {
    await dispose();
    throw new Error(`Cannot start the ingress: ${output.join("")}`, { cause: error });
  }
  return {
    pid: child.pid,
    origin,
    adminOrigin: `http://127.0.0.1:${adminPort}`,
    exited,
    kill: (signal) => child.kill(signal),
    readOutput: () => output.join(""),
    [Symbol.asyncDispose]: dispose,
  };
}

async function collect(stream: ReadableStream<Uint8Array>, output: string[]): Promise<void> {
  const decoder = new TextDecoder();
  for await (const chunk of stream) output.push(decoder.decode(chunk, { stream: true }));
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
