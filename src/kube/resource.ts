/** Which objects a reflector mirrors: one resource type, in one namespace or in all. */
export interface KubeResource {
  /** API group, never the empty core group. */
  readonly group: string;
  readonly version: string;
  /** The plural, as in URLs and in RBAC rules. */
  readonly plural: string;
  /** Undefined: all namespaces. */
  readonly namespace: string | undefined;
}

/** What every Kubernetes object carries, as far as a reflector looks. The rest is the store's business. */
export interface KubeObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: unknown;
    readonly uid?: unknown;
    readonly resourceVersion?: unknown;
  };
}

/** Whether a value that came out of JSON is an object with a name. */
export function isKubeObject(value: unknown): value is KubeObject {
  if (!isJsonObject(value) || !isJsonObject(value["metadata"])) return false;
  const { name } = value["metadata"];
  return typeof name === "string" && name !== "";
}

/** Whether a value that came out of JSON is an object (no array, not null). */
export function isJsonObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The path of the resource's collection, without a query. */
export function buildResourcePath(resource: KubeResource): string {
  const base = `/apis/${resource.group}/${resource.version}`;
  const scope = resource.namespace === undefined ? "" : `/namespaces/${encodeURIComponent(resource.namespace)}`;
  return `${base}${scope}/${resource.plural}`;
}

/** For logs: `batchsandboxes.sandbox.opensandbox.io in namespace "a"`, or `… in all namespaces`. */
export function describeResource(resource: KubeResource): string {
  return `${resource.plural}.${resource.group} ${describeScope(resource.namespace)}`;
}

function describeScope(namespace: string | undefined): string {
  return namespace === undefined ? "in all namespaces" : `in namespace "${namespace}"`;
}

/**
 * Compares two resource versions as API servers since Kubernetes 1.35 promise and all earlier ones do: as decimal
 * numbers of any length (KEP-5504). Undefined where either is none: then they say nothing but equal or different.
 */
export function compareResourceVersions(a: string, b: string): number | undefined {
  if (!DECIMAL.test(a) || !DECIMAL.test(b)) return undefined;
  if (a.length !== b.length) return a.length - b.length;
  return a === b ? 0 : a < b ? -1 : 1;
}

/** Without leading zeros, so that the longer one is the larger one. */
const DECIMAL = /^(0|[1-9]\d*)$/;
