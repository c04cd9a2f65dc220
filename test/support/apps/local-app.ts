import { isAnswering } from "../../../scripts/lib/ingress-process.ts";
import { startServerProcess, type ServerProcess } from "../../../scripts/lib/server-process.ts";
import type { RunningApp } from "./try-app.ts";

/** Until an application serves, in milliseconds: Python's take half a minute on a busy machine. */
const START_MAX_MS = 120_000;

export interface LocalAppOptions {
  readonly name: string;
  /** On 127.0.0.1. */
  readonly port: number;
  readonly command: readonly string[];
  /** A path that it answers with success as soon as it serves. Default: any answer to a request for `/` counts. */
  readonly readyPath?: string;
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** Starts a server program on its port, with a home of its own kind: nothing of this machine's proxies reaches it. */
export async function startLocalApp(options: LocalAppOptions): Promise<RunningApp & ServerProcess> {
  const { name, port, command, readyPath, env = {}, cwd } = options;
  const server = await startServerProcess({
    name,
    ports: [port],
    command: () => command,
    hasChildren: true,
    startMaxMs: START_MAX_MS,
    isReady: () =>
      readyPath === undefined
        ? fetch(`http://127.0.0.1:${port}/`, { proxy: false }).then(() => true)
        : isAnswering(`http://127.0.0.1:${port}${readyPath}`),
    env: { ...process.env, ...env },
    ...(cwd === undefined ? {} : { cwd }),
  });
  return { ...server, port };
}
