import type { ProviderType } from "./provider.ts";
import type { Resolution } from "./provider.ts";
import { sandboxNameCandidates } from "./names.ts";
import type { SandboxTable } from "./table.ts";

/**
 * Looks up a sandbox id as the provider type requires it (docs/contract.md §1). The id of a BatchSandbox is its name.
 * An AgentSandbox has several possible names, and that of the claim which adopted it; these are looked up together.
 */
export function resolveIn(table: SandboxTable, sandboxId: string, providerType: ProviderType): Resolution {
  if (providerType === "batchsandbox") return table.lookup(sandboxId);
  return table.lookupFirst(sandboxNameCandidates(sandboxId), sandboxId);
}
