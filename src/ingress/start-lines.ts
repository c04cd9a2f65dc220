import type { Config, MemoryPlan } from "../config/parse-config.ts";
import type { MemoryLimit } from "../host/memory-limit.ts";

/** The fields of the log line about memory. */
export function describeMemory({ budgetBytes, websocketMaxMessageBytes }: MemoryPlan, limit: MemoryLimit) {
  return { limitBytes: limit.bytes, limitOf: limit.source, budgetBytes, websocketMaxMessageBytes };
}

/** The fields of the log line that say where sandboxes come from. */
export function describeSource(config: Config): { readonly source: string; readonly provider: string } {
  const provider = config.providerType;
  if (config.manifests !== undefined) return { source: `manifests ${config.manifests}`, provider };
  if (config.allNamespaces) return { source: "all namespaces", provider };
  return { source: `namespaces ${config.namespaces.join(",")}`, provider };
}
