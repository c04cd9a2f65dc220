import { type Asked, ask } from "./ask.ts";
import { useEffect, useState } from "./ui.ts";

/** Time until the next try after a fault, in milliseconds. */
const RETRY_MS = 2_000;

/** The last answer of a page that is polled. */
export interface Polled<T> {
  /** Undefined: no answer yet. It stays while a later question fails. */
  readonly value: T | undefined;
  /** The path that gave the value. */
  readonly path: string;
  /** Why the last question failed; empty: it did not. */
  readonly fault: string;
}

/**
 * Polls a page while the tab is visible, one question at a time. An answer may be up to a second old, so that many
 * dashboards cost as much as one.
 */
export function usePoll<T>(path: string, intervalMs: number): Polled<T> {
  const [polled, setPolled] = useState<Polled<T>>({ value: undefined, path: "", fault: "" });
  useEffect(() => {
    const ending = new AbortController();
    const take = (asked: Asked<T>): void =>
      setPolled((before) =>
        asked.kind === "answer" ? { value: asked.value, path, fault: "" } : { ...before, fault: asked.text },
      );
    void keepAsking({ path, intervalMs, signal: ending.signal, take });
    return () => ending.abort();
  }, [path, intervalMs]);
  return polled;
}

async function keepAsking<T>(options: {
  readonly path: string;
  readonly intervalMs: number;
  readonly signal: AbortSignal;
  readonly take: (asked: Asked<T>) => void;
}): Promise<void> {
  const { path, intervalMs, signal, take } = options;
  const headers = { "Cache-Control": "max-age=1" };
  while (!signal.aborted) {
    await whenVisible(signal);
    const asked = await ask<T>(path, { headers, signal });
    if (signal.aborted) return;
    take(asked);
    await pause(asked.kind === "answer" ? intervalMs : RETRY_MS, signal);
  }
}

function whenVisible(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (document.visibilityState === "hidden" && !signal.aborted) return;
      document.removeEventListener("visibilitychange", look);
      signal.removeEventListener("abort", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", look);
    look();
  });
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const finish = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", finish);
      resolve();
    };
    const timer = setTimeout(finish, ms);
    signal.addEventListener("abort", finish);
  });
}
