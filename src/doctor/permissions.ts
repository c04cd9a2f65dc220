import type { Config } from "../config/config.ts";
import type { KubeWriter } from "../kube/client.ts";
import { toKubeError } from "../kube/errors.ts";
import { requestJson } from "../kube/request-json.ts";
import type { SandboxKind } from "../sandbox/projection/kinds.ts";
import { isObject } from "../values.ts";
import { remedyFor } from "./api-server.ts";
import type { Finding } from "./finding.ts";

/** Kubernetes: "Checking API Access". Every authenticated user may ask, by the role system:basic-user. */
const REVIEWS_PATH = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/** What the ingress does with sandboxes (docs/contract.md §1). */
const VERBS = ["get", "list", "watch"] as const;

/** One thing that the ingress has to be allowed to do. */
export interface Permission {
  readonly verb: string;
  /** Undefined: all namespaces. */
  readonly namespace: string | undefined;
}

/** Every permission that these flags need. */
export function listPermissions(config: Pick<Config, "namespaces" | "allNamespaces">): readonly Permission[] {
  const namespaces = config.allNamespaces ? [undefined] : config.namespaces;
  return namespaces.flatMap((namespace) => VERBS.map((verb) => ({ verb, namespace })));
}

/** How findings name it. */
export function nameOfPermission({ verb, namespace }: Permission): string {
  return `permission ${verb} (${namespace ?? "all namespaces"})`;
}

/** Asks the API server whether these credentials have the permission. */
export async function checkPermission(
  api: KubeWriter,
  options: { readonly permission: Permission; readonly kind: SandboxKind; readonly signal: AbortSignal },
): Promise<Finding> {
  const { permission, kind, signal } = options;
  const { verb, namespace } = permission;
  const { group, plural } = kind;
  const name = nameOfPermission(permission);
  const resourceAttributes = { verb, group, resource: plural, ...(namespace !== undefined && { namespace }) };
  const body = {
    apiVersion: "authorization.k8s.io/v1",
    kind: "SelfSubjectAccessReview",
    spec: { resourceAttributes },
  };
  try {
    const { status } = (await requestJson(api, { path: REVIEWS_PATH, body, signal })).json;
    if (isObject(status) && status["allowed"] === true) return { name, state: "ok", detail: `${plural}.${group}` };
    const role = namespace === undefined ? "a ClusterRole" : `a Role in namespace "${namespace}"`;
    const remedy = `grant ${VERBS.join(", ")} on ${plural} (API group ${group}) by ${role} and its binding`;
    return { name, state: "fail", detail: `${plural}.${group}: permission denied`, remedy };
  } catch (thrown) {
    const error = toKubeError(thrown);
    // Whether sandboxes can be read is then unknown. The ingress itself does not ask.
    const state = error.kind === "forbidden" ? "warn" : "fail";
    return { name, state, detail: `cannot ask: ${error.message}`, remedy: remedyFor(error.kind) };
  }
}
