import { findFreePort } from "./free-port.ts";

/** How long a server may take to be ready, in milliseconds: machines that also build something else are slow. */
const START_MAX_MS = 60_000;
/** Short, because the benchmark measures how long a start takes. */
const POLL_INTERVAL_MS = 2;
/**
 * A port can be taken after it was found free and before the server starts. That does not happen five times in a row.
 */
const ATTEMPTS_MAX = 5;
/** Pause before the same port is tried again, in milliseconds: its owner may release it. */
const SAME_PORT_PAUSE_MS = 200;
/** Maximum number of characters of a server's output that are kept: its end. */
const OUTPUT_MAX_CHARS = 16 * 1024 * 1024;
/** Messages of servers whose port is taken. */
const PORT_TAKEN = /EADDRINUSE|address (?:is )?already in use|address in use|port \d+ (?:is taken|in use)/i;

export interface ServerProcessOptions {
  /** For error messages. */
  readonly name: string;
  /** The command for these ports. It may write a configuration file. */
  readonly command: (ports: readonly number[]) => readonly string[];
  /** How many free ports it gets, or the ports that it must have. Default: none. */
  readonly ports?: number | readonly number[];
  /** Whether it serves. It is called repeatedly; an exception means no. */
  readonly isReady: (server: ServerProcess) => boolean | Promise<boolean>;
  /** Its whole environment. Default: this process's. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** It starts its own processes, which are all killed with it. */
  readonly hasChildren?: true;
  /** In milliseconds. Default: a minute. */
  readonly startMaxMs?: number;
}

/** A running server. Disposing of it kills it. */
export interface ServerProcess extends AsyncDisposable {
  readonly pid: number;
  readonly ports: readonly number[];
  /** Resolves with the exit code or the signal's name, after all its output has been read. */
  readonly exited: Promise<number | string>;
  /** Whether it has ended, by itself or not. */
  hasEnded(): boolean;
  readonly kill: (signal: NodeJS.Signals) => void;
  /** Its output so far, both streams; the last 16 million characters. */
  readonly readOutput: () => string;
  /** Sends SIGKILL and resolves when it is gone. */
  stop(): Promise<void>;
}

/**
 * Starts a server and resolves when it is ready. Throws at once, with its output, if it ends early. If it reports that
 * a port is taken, it is started again with other ports, or with the same ones if they were given.
 */
export async function startServerProcess(options: ServerProcessOptions): Promise<ServerProcess> {
  const { ports = 0 } = options;
  for (let attempt = 1; ; attempt++) {
    const chosen = typeof ports === "number" ? Array.from({ length: ports }, () => findFreePort()) : ports;
    const server = spawnServer(options, chosen);
    try {
      await waitUntilReady(server, options);
      return server;
    } catch (error) {
      await server.stop();
      const output = server.readOutput().trim();
      const isRetried = attempt < ATTEMPTS_MAX && chosen.length > 0 && PORT_TAKEN.test(output);
      if (!isRetried) throw new Error(`Cannot start ${options.name}: ${output}`, { cause: error });
      if (typeof ports !== "number") await Bun.sleep(SAME_PORT_PAUSE_MS);
    }
  }
}

async function waitUntilReady(server: ServerProcess, options: ServerProcessOptions): Promise<void> {
  const { isReady, startMaxMs = START_MAX_MS } = options;
  const deadline = performance.now() + startMaxMs;
  let lastFault: unknown;
  for (;;) {
    let ready = false;
    try {
      ready = await isReady(server);
    } catch (error) {
      lastFault = error;
    }
    // Checked last: the answer may come from another server that has the wanted port.
    if (server.hasEnded()) throw new Error(`it ended early: ${await server.exited}`, { cause: lastFault });
    if (ready) return;
    if (performance.now() > deadline)
      throw new Error(`it is not ready after ${startMaxMs / 1000} s`, { cause: lastFault });
    await Bun.sleep(POLL_INTERVAL_MS);
  }
}

function spawnServer(options: ServerProcessOptions, ports: readonly number[]): ServerProcess {
  const child = Bun.spawn([...options.command(ports)], {
    env: { ...(options.env ?? process.env) },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdin: "ignore",
    detached: options.hasChildren === true,
    stdout: "pipe",
    stderr: "pipe",
  });
  let output = "";
  const collect = async (stream: ReadableStream<Uint8Array>): Promise<void> => {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      output = (output + decoder.decode(chunk, { stream: true })).slice(-OUTPUT_MAX_CHARS);
    }
  };
  const drained = Promise.all([collect(child.stdout), collect(child.stderr)]);
  const exited = Promise.all([child.exited, drained]).then(() => child.signalCode ?? child.exitCode ?? "unknown");
  const stop = async (): Promise<void> => {
    if (options.hasChildren === true) killGroup(child.pid);
    child.kill("SIGKILL");
    await exited;
  };
  return {
    pid: child.pid,
    ports,
    exited,
    hasEnded: () => child.exitCode !== null || child.signalCode !== null,
    kill: (signal) => child.kill(signal),
    readOutput: () => output,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

function killGroup(leader: number): void {
  try {
    process.kill(-leader, "SIGKILL");
  } catch {
    // All of it has ended.
  }
}
