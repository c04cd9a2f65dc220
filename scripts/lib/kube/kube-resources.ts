import type { Json, KubeApiServer } from "./kube-api-server.ts";
import { eventually } from "../eventually.ts";

/** One of the two custom resources, as URLs and bodies need it. */
export interface KubeKind {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
}

export const BATCH_SANDBOX: KubeKind = {
  group: "sandbox.opensandbox.io",
  version: "v1alpha1",
  plural: "batchsandboxes",
  kind: "BatchSandbox",
};

export const AGENT_SANDBOX: KubeKind = {
  group: "agents.x-k8s.io",
  version: "v1beta1",
  plural: "sandboxes",
  kind: "Sandbox",
};

/** The path of the kind's collection in a namespace. */
export function collectionPath({ group, version, plural }: KubeKind, namespace: string): string {
  return `/apis/${group}/${version}/namespaces/${namespace}/${plural}`;
}

/** The definition of a kind, which accepts any spec and status. All `versions` are served; the first one is stored. */
export function buildCrd({ group, plural, kind, version }: KubeKind, versions: readonly string[] = [version]): Json {
  const anything = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
  const schema = { openAPIV3Schema: { type: "object", properties: { spec: anything, status: anything } } };
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: {
      name: `${plural}.${group}`,
      // Names below x-k8s.io and k8s.io are protected without an approval.
      annotations: { "api-approved.kubernetes.io": "unapproved, for tests" },
    },
    spec: {
      group,
      scope: "Namespaced",
      names: { plural, kind, singular: kind.toLowerCase(), listKind: `${kind}List` },
      versions: versions.map((name, index) => ({
        name,
        served: true,
        storage: index === 0,
        schema,
        subresources: { status: {} },
      })),
    },
  };
}

const CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/** Installs a kind and waits until it is served. */
export async function installCrd(server: KubeApiServer, kind: KubeKind, versions?: readonly string[]): Promise<void> {
  await server.request("POST", CRDS, buildCrd(kind, versions));
  await waitUntilServed(server, kind, versions);
}

/** Removes a kind with all its objects and waits until it is no longer served. */
export async function deleteCrd(server: KubeApiServer, kind: KubeKind): Promise<void> {
  await server.request("DELETE", `${CRDS}/${kind.plural}.${kind.group}`);
  const isServed = () =>
    server.request("GET", collectionPath(kind, "default")).then(
      () => true,
      (error: unknown) => !String(error).includes(": 404 "),
    );
  await eventually(async () => !(await isServed()));
}

/** Changes a definition by a JSON patch (RFC 6902). */
export async function changeCrdVersions(server: KubeApiServer, kind: KubeKind, patch: readonly Json[]): Promise<void> {
  await server.request("PATCH", `${CRDS}/${kind.plural}.${kind.group}`, patch, {
    contentType: "application/json-patch+json",
  });
}

async function waitUntilServed(
  server: KubeApiServer,
  kind: KubeKind,
  versions: readonly string[] = [kind.version],
): Promise<void> {
  for (const version of versions) {
    await eventually(() => server.request("GET", collectionPath({ ...kind, version }, "default")));
  }
}

export async function createNamespace(server: KubeApiServer, name: string): Promise<void> {
  await server.request("POST", "/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name } });
}

/** The parts of a sandbox that a test chooses. */
export interface SandboxSpec {
  readonly namespace: string;
  readonly name: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly status?: Json;
}

/** The body of an object of the kind. */
export function buildObject({ group, version, kind }: KubeKind, { namespace, name, annotations }: SandboxSpec): Json {
  return {
    apiVersion: `${group}/${version}`,
    kind,
    metadata: { namespace, name, ...(annotations !== undefined && { annotations }) },
    spec: {},
  };
}

/** The parts that make a BatchSandbox ready at an address. */
export function readyAt(address: string): Pick<SandboxSpec, "annotations" | "status"> {
  return {
    annotations: { "sandbox.opensandbox.io/endpoints": JSON.stringify([address]) },
    status: { replicas: 1, ready: 1, phase: "Succeed" },
  };
}

/** Creates an object and then writes its status, as a controller does. */
export async function createObject(server: KubeApiServer, kind: KubeKind, spec: SandboxSpec): Promise<Json> {
  const created = await server.request("POST", collectionPath(kind, spec.namespace), buildObject(kind, spec));
  return spec.status === undefined ? created : await patchStatus(server, kind, spec);
}

/** Merges annotations and other parts of the object, but not its status. */
export function patchObject(
  server: KubeApiServer,
  kind: KubeKind,
  { namespace, name, annotations }: SandboxSpec,
): Promise<Json> {
  const path = `${collectionPath(kind, namespace)}/${name}`;
  return server.request("PATCH", path, { metadata: { annotations } }, { contentType: MERGE_PATCH });
}

export function patchStatus(
  server: KubeApiServer,
  kind: KubeKind,
  { namespace, name, status }: SandboxSpec,
): Promise<Json> {
  const path = `${collectionPath(kind, namespace)}/${name}/status`;
  return server.request("PATCH", path, { status }, { contentType: MERGE_PATCH });
}

export async function deleteObject(
  server: KubeApiServer,
  kind: KubeKind,
  { namespace, name }: SandboxSpec,
): Promise<void> {
  await server.request("DELETE", `${collectionPath(kind, namespace)}/${name}`);
}

const MERGE_PATCH = "application/merge-patch+json";
