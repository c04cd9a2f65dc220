import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { startServerProcess, type ServerProcess } from "../server-process.ts";
import { toRecord } from "./cdp-client.ts";

const PROGRAMS = ["chromium", "chromium-browser", "google-chrome"] as const;

/** How a person gets the browser, as one command. */
export const GET_CHROMIUM = "apt-get install chromium";

/** The browser's program; undefined: this machine has none. */
export function findChromium(): string | undefined {
  return PROGRAMS.find((name) => Bun.which(name) !== null);
}

export interface DebuggedChromium extends AsyncDisposable {
  /** The port of its DevTools protocol on 127.0.0.1. */
  readonly port: number;
  /** Where the protocol's connection for the whole browser is. */
  readonly debuggerUrl: string;
}

/** Starts a headless Chromium that can be steered, with a profile of its own. Throws if the machine has none. */
export async function startChromium(flags: readonly string[] = []): Promise<DebuggedChromium> {
  const program = findChromium();
  if (program === undefined) throw new Error(`a Chromium is missing; get it with: ${GET_CHROMIUM}`);
  const profile = mkdtempSync(join(tmpdir(), "ingress-browser-"));
  const removeProfile = (): void => rmSync(profile, { recursive: true, force: true });
  let chromium: ServerProcess;
  try {
    chromium = await startServerProcess({
      name: "chromium",
      ports: 1,
      hasChildren: true,
      command: ([port]) => [
        program,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-proxy-server",
        `--user-data-dir=${profile}`,
        `--remote-debugging-port=${port}`,
        ...flags,
        "about:blank",
      ],
      isReady: async ({ ports: [port] }) => (await readDebuggerUrl(port ?? 0)) !== undefined,
    });
  } catch (error) {
    removeProfile();
    throw error;
  }
  const port = chromium.ports[0] ?? 0;
  return {
    port,
    debuggerUrl: (await readDebuggerUrl(port)) ?? "",
    [Symbol.asyncDispose]: async () => {
      await chromium.stop();
      removeProfile();
    },
  };
}

async function readDebuggerUrl(port: number): Promise<string | undefined> {
  const answer = await fetch(`http://127.0.0.1:${port}/json/version`, { proxy: false });
  const url = toRecord(await answer.json())["webSocketDebuggerUrl"];
  return typeof url === "string" ? url : undefined;
}
