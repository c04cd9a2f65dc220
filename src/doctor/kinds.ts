import type { KubeWriter } from "../kube/client.ts";
import { KubeError, toKubeError } from "../kube/errors.ts";
import { requestJson } from "../kube/request-json.ts";
import type { SandboxKind } from "../sandbox/projection/kinds.ts";
import { isObject } from "../values.ts";
import { remedyFor } from "./api-server.ts";
import type { Finding } from "./finding.ts";

/** Checks that the API server serves the kind of sandbox in a version that the ingress reads. */
export async function checkKinds(api: KubeWriter, kind: SandboxKind, signal: AbortSignal): Promise<Finding> {
  const name = "kinds";
  const { group, plural, versions } = kind;
  try {
    const served: string[] = [];
    for (const version of versions) if (await isServed(api, { group, version, plural, signal })) served.push(version);
    if (served.length > 0) {
      return { name, state: "ok", detail: `${plural}.${group} is served in ${served.join(" and ")}` };
    }
    const detail = `${plural}.${group} is not served in ${versions.join(" or ")}`;
    const remedy = `install the CustomResourceDefinition ${plural}.${group}, or correct --provider-type`;
    return { name, state: "fail", detail, remedy };
  } catch (thrown) {
    const error = toKubeError(thrown);
    return { name, state: "fail", detail: error.message, remedy: remedyFor(error.kind) };
  }
}

interface ServedQuery {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly signal: AbortSignal;
}

/** By the document of one version, an `APIResourceList`. */
async function isServed(api: KubeWriter, { group, version, plural, signal }: ServedQuery): Promise<boolean> {
  try {
    const { json } = await requestJson(api, { path: `/apis/${group}/${version}`, signal });
    const resources: readonly unknown[] = Array.isArray(json["resources"]) ? json["resources"] : [];
    return resources.some((resource) => isObject(resource) && resource["name"] === plural);
  } catch (thrown) {
    if (thrown instanceof KubeError && thrown.kind === "missing") return false;
    throw thrown;
  }
}
