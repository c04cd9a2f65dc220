import type { ProviderType } from "../provider.ts";
import type { Clock } from "../../clock.ts";
import type { KubeClient } from "../../kube/client.ts";
import { KubeError } from "../../kube/errors.ts";
import { readKubeJson } from "../../kube/read-json.ts";
import { type SandboxKind, sandboxKindOf } from "../projection/kinds.ts";
import { isObject } from "../../values.ts";

/** How a kind of sandbox is found at an API server and read. */
export interface SandboxResource extends SandboxKind {
  /** Finds the version to use. Throws KubeError, `missing` if the type is not installed. */
  readonly findVersion: (signal: AbortSignal) => Promise<string>;
}

/** Longest discovery document, in characters. The document of one group has about 1 KiB. */
const DISCOVERY_MAX_CHARS = 1024 * 1024;
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
  const limits = { waitMaxMs: DISCOVERY_MAX_MS, maxChars: DISCOVERY_MAX_CHARS };
  const group = await readKubeJson(path, { ...options, ...limits, what: "the discovery document" });
  const items: readonly unknown[] = Array.isArray(group["versions"]) ? group["versions"] : [];
  const versions = items.map(versionOf).filter((version) => version !== undefined);
  return { versions, preferred: versionOf(group["preferredVersion"]) };
}

function versionOf(item: unknown): string | undefined {
  const version = isObject(item) ? item["version"] : undefined;
  return typeof version === "string" && /^[a-z0-9]+$/.test(version) ? version : undefined;
}
