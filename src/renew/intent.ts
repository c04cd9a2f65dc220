import type { QueuedIntent } from "./queue.ts";
import type { SandboxUse } from "./publisher.ts";

/**
 * The longest `request_uri`, in UTF-16 code units. The consumer only needs `sandbox_id` and `observed_at`. The path
 * tells people what was used; 1 KiB is enough for that.
 */
export const REQUEST_URI_MAX_LENGTH = 1024;

/** The consumer ignores older intents (docs/contract.md §4: `observed_at` under 300 s old), so they are not sent. */
export const INTENT_MAX_AGE_MS = 300_000;

/**
 * The list element for one use at wall-clock time `observedAtMs`
 * ([OSEP-0009](https://github.com/alibaba/OpenSandbox/blob/main/oseps/0009-auto-renew-sandbox-on-ingress-access.md)).
 */
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
