import { IngressError } from "../errors.ts";
import type { SandboxProvider } from "../sandbox/provider.ts";

/** How long a request waits for the first sync before it is refused, in milliseconds: longer than an ordinary start. */
const SYNC_WAIT_MAX_MS = 5_000;

/** Requests that wait for the first sync at a time: they hold little, but arrive without bound while nothing is routed. */
const SYNC_WAITERS_MAX = 1_000;

/**
 * Gives a function that returns undefined once the provider is synced, for ever after; before that a promise that
 * waits for it and throws `not_synced`, or `kubernetes_unavailable` where the provider says what is wrong.
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
