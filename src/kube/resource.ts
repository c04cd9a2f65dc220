import { isObject } from "../values.ts";

/** Which objects a reflector mirrors: one resource type, in one namespace or in all. */
export interface KubeResource {
  /** API group, never the empty core group. */
  readonly group: string;
  readonly version: string;
  /** The plural, as in URLs and RBAC rules. */
  readonly plural: string;
  /** Undefined: all namespaces. */
  readonly namespace: string | undefined;
}

/** The fields of a Kubernetes object that a reflector reads. */
export interface KubeObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: unknown;
    readonly uid?: unknown;
    readonly resourceVersion?: unknown;
  };
}

/** Whether a JSON value is an object with a name. */
export function isKubeObject(value: unknown): value is KubeObject {
  if (!isObject(value) || !isObject(value["metadata"])) return false;
  const { name } = value["metadata"];
  return typeof name === "string" && name !== "";
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
 * Compares two resource versions as decimal numbers of any length. API servers promise this format since Kubernetes
 * 1.35 and have always used it (KEP-5504). Returns undefined if either is not a decimal number; then only equality
 * means something.
 */
export function compareResourceVersions(a: string, b: string): number | undefined {
  if (!DECIMAL.test(a) || !DECIMAL.test(b)) return undefined;
  if (a.length !== b.length) return a.length - b.length;
  return a === b ? 0 : a < b ? -1 : 1;
}

/** Without leading zeros, so that the longer number is the larger one. */
const DECIMAL = /^(0|[1-9]\d*)$/;
