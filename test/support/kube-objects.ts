import type { Json, KubeApiServer } from "../../scripts/lib/kube/kube-api-server.ts";
import { dig } from "./kustomize.ts";
import { listOf } from "./rendered-chart.ts";

/** The path of an object's collection, as the API server's discovery has it. Throws if it does not serve the kind. */
async function collectionOf(server: KubeApiServer, object: Json): Promise<string> {
  const version = String(object["apiVersion"]);
  const root = `/${version === "v1" ? "api" : "apis"}/${version}`;
  const { resources } = await server.request("GET", root);
  const known = listOf(resources).filter((resource) => !String(dig(resource, "name")).includes("/"));
  const resource = known.find((each) => dig(each, "kind") === object["kind"]);
  if (resource === undefined) throw new Error(`Cannot find ${version} ${String(object["kind"])}`);
  const namespace = dig(resource, "namespaced") === true ? `/namespaces/${namespaceOf(object)}` : "";
  return `${root}${namespace}/${String(dig(resource, "name"))}`;
}

function namespaceOf(object: Json): string {
  const namespace = dig(object, "metadata", "namespace");
  if (typeof namespace !== "string") throw new Error(`Cannot tell the namespace of a ${String(object["kind"])}`);
  return namespace;
}

/** Lets the API server check an object completely; a field that it does not know is an error. Nothing is stored. */
export async function checkStrictly(server: KubeApiServer, object: Json): Promise<void> {
  await server.request("POST", `${await collectionOf(server, object)}?dryRun=All&fieldValidation=Strict`, object);
}

/** Lets the API server check what server-side apply would make of the object that is there. Nothing is stored. */
export async function checkApply(server: KubeApiServer, object: Json): Promise<Json> {
  const path = `${await collectionOf(server, object)}/${String(dig(object, "metadata", "name"))}`;
  const query = "dryRun=All&fieldValidation=Strict&fieldManager=test&force=true";
  return server.request("PATCH", `${path}?${query}`, object, { contentType: "application/apply-patch+yaml" });
}

/** Creates an object; a field that the API server does not know is an error. */
export async function createStrictly(server: KubeApiServer, object: Json): Promise<void> {
  await server.request("POST", `${await collectionOf(server, object)}?fieldValidation=Strict`, object);
}

/** Which object is meant. */
export interface ObjectReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string;
}

async function pathOf(server: KubeApiServer, { apiVersion, kind, name, namespace }: ObjectReference): Promise<string> {
  return `${await collectionOf(server, { apiVersion, kind, metadata: { namespace } })}/${name}`;
}

/** An object as it is now; undefined if there is none, or no such kind. */
export async function findObject(server: KubeApiServer, reference: ObjectReference): Promise<Json | undefined> {
  try {
    return await server.request("GET", await pathOf(server, reference));
  } catch (error) {
    if (/: 404 |Cannot find/.test(String(error))) return undefined;
    throw error;
  }
}

/** Merges a patch into an object, or into its subresource such as `status`. */
export async function mergeInto(
  server: KubeApiServer,
  reference: ObjectReference,
  patch: Json,
  options: { readonly subresource?: string; readonly token?: string } = {},
): Promise<Json> {
  const below = options.subresource === undefined ? "" : `/${options.subresource}`;
  return server.request("PATCH", (await pathOf(server, reference)) + below, patch, {
    contentType: "application/merge-patch+json",
    ...(options.token !== undefined && { token: options.token }),
  });
}

/** Deletes an object. No controller runs here that would delete what it owns. */
export async function removeObject(server: KubeApiServer, reference: ObjectReference): Promise<void> {
  await server.request("DELETE", await pathOf(server, reference), { propagationPolicy: "Background" });
}
