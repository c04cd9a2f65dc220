import type { ProviderType } from "./provider.ts";
import type { Resolution } from "./provider.ts";
import { sandboxNameCandidates } from "./names.ts";
import type { SandboxTable } from "./table.ts";

/**
 * Looks a sandbox id up as its provider type wants it (docs/contract.md §1). A BatchSandbox is named by its id; the
 * names of an
 * AgentSandbox are looked up together.
 */
export function resolveIn(table: SandboxTable, sandboxId: string, providerType: ProviderType): Resolution {
  if (providerType === "batchsandbox") return table.lookup(sandboxId);
  return table.lookupFirst(sandboxNameCandidates(sandboxId));
}
