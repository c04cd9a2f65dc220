import type { ProviderType } from "../config.ts";
import type { Resolution } from "./provider.ts";
import { sandboxNameCandidates } from "./sandbox-names.ts";
import type { SandboxTable } from "./sandbox-table.ts";

/**
 * Looks a sandbox id up as its provider type wants it. A BatchSandbox is named by its id; for an AgentSandbox the first
 * candidate name that exactly one object bears wins, and the id is ambiguous only if none does and several bear one.
 */
export function resolveIn(table: SandboxTable, sandboxId: string, providerType: ProviderType): Resolution {
  if (providerType === "batchsandbox") return table.lookup(sandboxId);
  let last: Resolution | undefined;
  for (const name of sandboxNameCandidates(sandboxId)) {
    const resolution = table.lookup(name);
    if (resolution.state === "found") return resolution;
    if (last?.state !== "ambiguous") last = resolution;
  }
  return last ?? { state: "not-found" };
}
