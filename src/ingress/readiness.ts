import type { HealthCheck } from "../admin/health.ts";
import type { Lifecycle } from "../lifecycle.ts";
import type { Logger } from "../log/logger.ts";
import type { SandboxProvider } from "../sandbox/provider.ts";

/** Whether the sandboxes are known, and the ingress serves. */
export function readinessChecks(lifecycle: Lifecycle, provider: SandboxProvider): readonly HealthCheck[] {
  const { synced, fault } = provider.status();
  const isServing = lifecycle.phase === "starting" || lifecycle.phase === "ready";
  return [
    { name: "sandboxes-synced", ok: synced, detail: synced ? "" : (fault ?? "the first list is not complete") },
    { name: "serving", ok: isServing, detail: isServing ? "" : "shutting down" },
  ];
}

/** Fails for good after the first fault. */
export function faultCheck(faults: number): HealthCheck {
  const ok = faults === 0;
  return { name: "no-internal-fault", ok, detail: ok ? "" : "an internal fault occurred, the process is about to end" };
}

/** Milliseconds between two checks of a provider that is not synced. The provider logs its own faults. */
const SYNC_CHECK_MS = 60_000;

/** Makes the ingress ready as soon as the provider is synced. Resolves then, or when the ingress drains. */
export async function announceSync(provider: SandboxProvider, lifecycle: Lifecycle, logger: Logger): Promise<void> {
  while (!(await provider.whenSynced(SYNC_CHECK_MS))) {
    if (lifecycle.phase !== "starting") return;
  }
  const { ready, notReady, ambiguous } = provider.counts();
  if (lifecycle.advance("ready")) logger.info("ready", { sandboxes: ready + notReady + ambiguous, ready });
}
