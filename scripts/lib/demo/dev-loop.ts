import { watch } from "node:fs";
import { DemoError, type RunningIngress } from "./demo-stage.ts";

/**
 * An editor writes a file in several steps, and a checkout writes many files. A change is over after this long without
 * another one, in milliseconds.
 */
const QUIET_MS = 150;

export interface DevLoopOptions {
  /** Every file below it counts. */
  readonly folder: string;
  readonly start: () => Promise<RunningIngress>;
  /** Resolves when everything should end. */
  readonly stopped: Promise<unknown>;
}

/**
 * Keeps an ingress running from source, started again after each change; one that does not start, or ends, waits for
 * the next change. (`bun --watch` is no help: the ingress replaces its own process at start, and the flag is gone with
 * the old one.)
 */
export async function runDevLoop(options: DevLoopOptions): Promise<void> {
  const { folder, start } = options;
  let notify = () => {};
  let timer: ReturnType<typeof setTimeout> | undefined;
  const watcher = watch(folder, { recursive: true }, () => {
    clearTimeout(timer);
    timer = setTimeout(() => notify(), QUIET_MS);
  });
  const stopped = options.stopped.then(() => "stopped" as const);
  try {
    for (;;) {
      const changed = new Promise<"changed">((resolve) => (notify = () => resolve("changed")));
      const ingress = await startOrExplain(start);
      const event = await Promise.race([stopped, changed]);
      if (event === "changed") console.log("a source file has changed: starting the ingress again");
      await ingress?.stop();
      if (event === "stopped") return;
    }
  } finally {
    clearTimeout(timer);
    watcher.close();
  }
}

async function startOrExplain(start: () => Promise<RunningIngress>): Promise<RunningIngress | undefined> {
  try {
    return await start();
  } catch (error) {
    if (!(error instanceof DemoError)) throw error;
    console.error(`${error.message}; waiting for a change`);
    return undefined;
  }
}
