import { IngressError } from "../errors.ts";
import type { SandboxProvider } from "../sandbox/provider.ts";

/** How long a request waits for the first sync before it is refused, in milliseconds. An ordinary start is faster. */
const SYNC_WAIT_MAX_MS = 5_000;

/**
 * Requests that may wait for the first sync at a time. Each holds little memory, but nothing else limits how many
 * arrive.
 */
const SYNC_WAITERS_MAX = 1_000;

/**
 * Returns a function. It returns undefined once the provider is synced. Before that it returns a promise that waits for
 * the sync. The promise rejects with `not_synced`, or with `kubernetes_unavailable` if the provider reports a fault.
 */
export function createSyncGate(provider: SandboxProvider): () => Promise<void> | undefined {
  let synced = false;
  let waiters = 0;
  const wait = async (): Promise<void> => {
    waiters++;
    synced = await provider.whenSynced(waiters > SYNC_WAITERS_MAX ? 0 : SYNC_WAIT_MAX_MS).finally(() => waiters--);
    if (synced) return;
    const { fault } = provider.status();
    // Before the sync an unknown sandbox must never look like a missing one.
    if (fault === undefined) throw new IngressError("not_synced");
    throw new IngressError("kubernetes_unavailable", undefined, { cause: fault });
  };
  return () => (synced ? undefined : wait());
}
