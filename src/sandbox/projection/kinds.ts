import type { ProviderType } from "../provider.ts";
import { projectAgentSandbox } from "./agent-sandbox.ts";
import { projectBatchSandbox } from "./batch-sandbox.ts";
import type { Project } from "./projection.ts";

/** The resource of a `--provider-type` (docs/contract.md §1). */
export interface SandboxKind {
  readonly group: string;
  /** The supported versions, the preferred one first. */
  readonly versions: readonly [string, ...string[]];
  readonly kind: string;
  /** As in the path of the API. */
  readonly plural: string;
  readonly project: Project;
}

const SANDBOX_KINDS: Readonly<Record<ProviderType, SandboxKind>> = {
  batchsandbox: {
    group: "sandbox.opensandbox.io",
    versions: ["v1alpha1"],
    kind: "BatchSandbox",
    plural: "batchsandboxes",
    project: projectBatchSandbox,
  },
  "agent-sandbox": {
    group: "agents.x-k8s.io",
    versions: ["v1beta1", "v1alpha1"],
    kind: "Sandbox",
    plural: "sandboxes",
    project: projectAgentSandbox,
  },
};

/** The resource that a provider type reads. */
export function sandboxKindOf(providerType: ProviderType): SandboxKind {
  return SANDBOX_KINDS[providerType];
}
