import type { QueuedIntent } from "./queue.ts";
import type { SandboxUse } from "./publisher.ts";

/**
 * The longest `request_uri`, in UTF-16 code units. The consumer only needs `sandbox_id` and `observed_at`; the path tells people
 * what was used, and 1 KiB of it tells that.
 */
export const REQUEST_URI_MAX_LENGTH = 1024;

/**
 * An intent older than this is ignored by its consumer (docs/contract.md §4: `observed_at` under 300 s old), so it is
 * not sent.
 */
export const INTENT_MAX_AGE_MS = 300_000;

/** The list element for one use (OSEP-0009), observed at wall-clock time `observedAtMs`. */
export function buildIntent(use: SandboxUse, observedAtMs: number): QueuedIntent {
  const path = use.path.length <= REQUEST_URI_MAX_LENGTH ? use.path : use.path.slice(0, REQUEST_URI_MAX_LENGTH);
  const json = JSON.stringify({
    sandbox_id: use.record.name,
    observed_at: new Date(observedAtMs).toISOString(),
    port: use.port,
    request_uri: path,
    namespace: use.record.namespace,
  });
  return { json, observedAtMs };
}
