import type { ProviderType } from "../config.ts";
import { systemClock, type Clock } from "../clock.ts";
import type { KubeClient } from "../kube/kube-client.ts";
import { KubeError } from "../kube/kube-error.ts";
import { readKubeStream } from "../kube/kube-stream.ts";
import { isJsonObject } from "../kube/resource.ts";
import { projectAgentSandbox } from "./project-agent-sandbox.ts";
import { projectBatchSandbox } from "./project-batch-sandbox.ts";
import type { Project } from "./projection.ts";

/** How a kind of sandbox is found at an API server and read (contract §1). */
export interface SandboxResource {
  readonly group: string;
  readonly plural: string;
  readonly project: Project;
  /** The version to use. Throws KubeError, `missing` where the type is not installed. */
  readonly findVersion: (signal: AbortSignal) => Promise<string>;
}

/** AgentSandbox: in this order (contract §1). */
const AGENT_SANDBOX_VERSIONS = ["v1beta1", "v1alpha1"] as const;
/** What an API server says of one group is about 1 KiB; beyond this it is something else. */
const DISCOVERY_MAX_BYTES = 1024 * 1024;
/** Discovery is answered from memory, so what takes longer is broken; milliseconds. */
const DISCOVERY_MAX_MS = 15_000;

export function sandboxResourceOf(
  providerType: ProviderType,
  client: KubeClient,
  options: { readonly clock?: Clock } = {},
): SandboxResource {
  if (providerType === "batchsandbox") {
    return {
      group: "sandbox.opensandbox.io",
      plural: "batchsandboxes",
      project: projectBatchSandbox,
      findVersion: () => Promise.resolve("v1alpha1"),
    };
  }
  const group = "agents.x-k8s.io";
  const clock = options.clock ?? systemClock;
  return {
    group,
    plural: "sandboxes",
    project: projectAgentSandbox,
    findVersion: async (signal) => chooseVersion(await readServedVersions(`/apis/${group}`, { client, clock, signal })),
  };
}

interface ServedVersions {
  readonly versions: readonly string[];
  readonly preferred: string | undefined;
}

/** What is served decides; of versions unknown here the one that the server prefers is the best guess. */
function chooseVersion({ versions, preferred }: ServedVersions): string {
  const version = AGENT_SANDBOX_VERSIONS.find((known) => versions.includes(known)) ?? preferred ?? versions[0];
  if (version === undefined) throw new KubeError("missing", "the API server serves no version of it");
  return version;
}

interface DiscoveryOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** The discovery document of a group, an `APIGroup`. */
async function readServedVersions(path: string, options: DiscoveryOptions): Promise<ServedVersions> {
  let text = "";
  const decoder = new TextDecoder();
  const limits = { headMaxMs: DISCOVERY_MAX_MS, idleMaxMs: DISCOVERY_MAX_MS };
  for await (const chunk of readKubeStream(path, { ...options, ...limits })) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > DISCOVERY_MAX_BYTES) throw new KubeError("protocol", "the discovery document is too long");
  }
  try {
    const group: unknown = JSON.parse(text);
    if (!isJsonObject(group)) throw new TypeError("no object");
    const items: readonly unknown[] = Array.isArray(group["versions"]) ? group["versions"] : [];
    const versions = items.map(versionOf).filter((version) => version !== undefined);
    return { versions, preferred: versionOf(group["preferredVersion"]) };
  } catch {
    throw new KubeError("protocol", "the discovery document is no JSON object");
  }
}

function versionOf(item: unknown): string | undefined {
  const version = isJsonObject(item) ? item["version"] : undefined;
  return typeof version === "string" && /^[a-z0-9]+$/.test(version) ? version : undefined;
}
