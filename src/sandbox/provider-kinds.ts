import type { ProviderType } from "../config.ts";
import { projectAgentSandbox } from "./project-agent-sandbox.ts";
import { projectBatchSandbox } from "./project-batch-sandbox.ts";
import type { Project } from "./projection.ts";

/** The resource behind a `--provider-type` (contract §1). */
export interface SandboxKind {
  readonly group: string;
  /** The versions that can be read. */
  readonly versions: readonly string[];
  readonly kind: string;
  readonly project: Project;
}

const SANDBOX_KINDS: Readonly<Record<ProviderType, SandboxKind>> = {
  batchsandbox: {
    group: "sandbox.opensandbox.io",
    versions: ["v1alpha1"],
    kind: "BatchSandbox",
    project: projectBatchSandbox,
  },
  "agent-sandbox": {
    group: "agents.x-k8s.io",
    versions: ["v1beta1", "v1alpha1"],
    kind: "Sandbox",
    project: projectAgentSandbox,
  },
};

/** The resource that a provider type reads. */
export function sandboxKindOf(providerType: ProviderType): SandboxKind {
  return SANDBOX_KINDS[providerType];
}
