import type { ProviderType } from "../provider.ts";
import type { Clock } from "../../clock.ts";
import type { KubeClient } from "../../kube/client.ts";
import { KubeError } from "../../kube/errors.ts";
import { readKubeStream } from "../../kube/stream.ts";
import { type SandboxKind, sandboxKindOf } from "../projection/kinds.ts";
import { isObject } from "../../values.ts";

/** How a kind of sandbox is found at an API server and read. */
export interface SandboxResource extends SandboxKind {
  /** Finds the version to use. Throws KubeError, `missing` if the type is not installed. */
  readonly findVersion: (signal: AbortSignal) => Promise<string>;
}

/** Longest discovery document, in bytes. The document of one group has about 1 KiB. */
const DISCOVERY_MAX_BYTES = 1024 * 1024;
/** Longest wait for a discovery document, in milliseconds. The API server answers it from memory. */
const DISCOVERY_MAX_MS = 15_000;

export function sandboxResourceOf(
  providerType: ProviderType,
  client: KubeClient,
  options: { readonly clock: Clock },
): SandboxResource {
  const kind = sandboxKindOf(providerType);
  const { group, versions } = kind;
  const [only, ...others] = versions;
  // With one version there is nothing to discover.
  if (others.length === 0) return { ...kind, findVersion: () => Promise.resolve(only) };
  const { clock } = options;
  return {
    ...kind,
    findVersion: async (signal) =>
      chooseVersion(versions, await readServedVersions(`/apis/${group}`, { client, clock, signal })),
  };
}

interface ServedVersions {
  readonly versions: readonly string[];
  readonly preferred: string | undefined;
}

/** Prefers known versions that are served. Else the version that the server prefers is the best guess. */
function chooseVersion(known: readonly string[], { versions, preferred }: ServedVersions): string {
  const version = known.find((candidate) => versions.includes(candidate)) ?? preferred ?? versions[0];
  if (version === undefined) throw new KubeError("missing", "the API server serves no version of this resource");
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
    if (!isObject(group)) throw new TypeError("not an object");
    const items: readonly unknown[] = Array.isArray(group["versions"]) ? group["versions"] : [];
    const versions = items.map(versionOf).filter((version) => version !== undefined);
    return { versions, preferred: versionOf(group["preferredVersion"]) };
  } catch {
    throw new KubeError("protocol", "the discovery document is not a JSON object");
  }
}

function versionOf(item: unknown): string | undefined {
  const version = isObject(item) ? item["version"] : undefined;
  return typeof version === "string" && /^[a-z0-9]+$/.test(version) ? version : undefined;
}
