import type { KubeApiServer } from "../../scripts/lib/kube/kube-api-server.ts";
import type { KubeKind } from "../../scripts/lib/kube/kube-resources.ts";

const RBAC = "rbac.authorization.k8s.io";

export interface GrantOptions {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly verbs: readonly string[];
}

/** Creates a service account that may only do `verbs` to one kind in its own namespace. */
export async function grantToNewAccount(server: KubeApiServer, kind: KubeKind, options: GrantOptions): Promise<void> {
  const { namespace, serviceAccount: name, verbs } = options;
  const metadata = { name, namespace };
  const roles = `/apis/${RBAC}/v1/namespaces/${namespace}`;
  await server.request("POST", `/api/v1/namespaces/${namespace}/serviceaccounts`, { metadata });
  const rules = [{ apiGroups: [kind.group], resources: [kind.plural], verbs }];
  await server.request("POST", `${roles}/roles`, { metadata, rules });
  await server.request("POST", `${roles}/rolebindings`, {
    metadata,
    roleRef: { apiGroup: RBAC, kind: "Role", name },
    subjects: [{ kind: "ServiceAccount", name, namespace }],
  });
}

/** Changes the permissions of a service account's role. */
export async function changeGrant(server: KubeApiServer, kind: KubeKind, options: GrantOptions): Promise<void> {
  const path = `/apis/${RBAC}/v1/namespaces/${options.namespace}/roles/${options.serviceAccount}`;
  const rules = [{ apiGroups: [kind.group], resources: [kind.plural], verbs: options.verbs }];
  await server.request("PATCH", path, { rules }, { contentType: "application/merge-patch+json" });
}

/** A bound token of a service account, as the kubelet asks for one (TokenRequest). */
export async function requestToken(server: KubeApiServer, namespace: string, serviceAccount: string): Promise<string> {
  const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${serviceAccount}/token`;
  const answer = await server.request("POST", path, { spec: { expirationSeconds: 600 } });
  const { status } = answer;
  if (typeof status !== "object" || status === null || !("token" in status) || typeof status.token !== "string") {
    throw new Error("Cannot request a token: the answer has none");
  }
  return status.token;
}
