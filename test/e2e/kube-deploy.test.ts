import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startSampleSandbox } from "../../scripts/sample-sandbox.ts";
import { buildBinary } from "../support/binary.ts";
import { eventually } from "../support/eventually.ts";
import { isAnswering, startIngressProcess, type IngressProcess } from "../support/ingress-process.ts";
import type { Json, KubeApiServer } from "../support/kube-api-server.ts";
import { hasKubeApiServer, useKubeApiServer } from "../support/kube-fixture.ts";
import { requestToken } from "../support/kube-rbac.ts";
import {
  AGENT_SANDBOX,
  BATCH_SANDBOX,
  createNamespace,
  createObject,
  installCrd,
  readyAt,
  type KubeKind,
} from "../support/kube-resources.ts";
import { dig, renderKustomization } from "../support/kustomize.ts";

setDefaultTimeout(60_000);

const NAME = "opensandbox-ingress-gateway";
const RBAC = "rbac.authorization.k8s.io/v1";
const PLURALS: Readonly<Record<string, string>> = {
  ServiceAccount: "serviceaccounts",
  Service: "services",
  Deployment: "deployments",
  PodDisruptionBudget: "poddisruptionbudgets",
  Role: "roles",
  RoleBinding: "rolebindings",
  ClusterRole: "clusterroles",
  ClusterRoleBinding: "clusterrolebindings",
};

function pathOf(object: Json): string {
  const version = String(object["apiVersion"]);
  const namespace = dig(object, "metadata", "namespace");
  const scope = typeof namespace === "string" ? `/namespaces/${namespace}` : "";
  return `/${version === "v1" ? "api" : "apis"}/${version}${scope}/${PLURALS[String(object["kind"])]}`;
}

/** Creates all objects; a field that the API server does not know is an error. */
async function apply(server: KubeApiServer, objects: ReadonlyMap<string, Json>): Promise<void> {
  for (const object of objects.values())
    await server.request("POST", `${pathOf(object)}?fieldValidation=Strict`, object);
}

/** Changes the verbs that a (cluster) role permits. */
async function permit(server: KubeApiServer, role: Json, verbs: readonly string[]): Promise<void> {
  const patch = [{ op: "replace", path: "/rules/0/verbs", value: verbs }];
  await server.request("PATCH", `${pathOf(role)}/${NAME}`, patch, { contentType: "application/json-patch+json" });
}

describe.skipIf(!hasKubeApiServer())("the manifests of deploy/ on a real API server", () => {
  const api = useKubeApiServer();
  let binary = "";
  beforeAll(async () => {
    binary = await buildBinary();
    await installCrd(api(), BATCH_SANDBOX);
    await installCrd(api(), AGENT_SANDBOX);
    for (const namespace of ["opensandbox", "opensandbox-system", "elsewhere"]) await createNamespace(api(), namespace);
  }, 120_000);

  /** Runs the binary as the Deployment would: its flags, and a token of its service account. */
  async function runDeployed(objects: ReadonlyMap<string, Json>): Promise<IngressProcess> {
    const deployment = objects.get("Deployment");
    const namespace = String(dig(deployment, "metadata", "namespace"));
    const container = dig(deployment, "spec", "template", "spec", "containers", 0);
    const args = dig(container, "args");
    const flags = (Array.isArray(args) ? args : [])
      .map((arg) => String(arg).replace("$(POD_NAMESPACE)", namespace))
      .filter((flag) => !flag.startsWith("--port="));
    const token = await requestToken(api(), namespace, NAME);
    const kubeconfig = api().writeKubeconfig(namespace, { user: { token } });
    return startIngressProcess(binary, [...flags, `--kubeconfig=${kubeconfig}`, "--allow-loopback-endpoints"]);
  }

  /** Creates a sandbox where a server listens, and waits until the ingress leads there. */
  async function expectRouted(ingress: IngressProcess, kind: KubeKind, namespace: string): Promise<void> {
    const name = `in-${namespace}-${kind.version}`;
    const sandbox = startSampleSandbox(name, { address: "127.0.0.1", port: 0 });
    const agentStatus = { conditions: [{ type: "Ready", status: "True" }], podIPs: ["127.0.0.1"] };
    const parts = kind === BATCH_SANDBOX ? readyAt("127.0.0.1") : { status: agentStatus };
    await createObject(api(), kind, { namespace, name, ...parts });
    const headers = { "OpenSandbox-Ingress-To": `${name}-${sandbox.port}` };
    try {
      await eventually(async () => {
        const response = await fetch(`${ingress.origin}/echo`, { headers });
        expect(await response.json()).toMatchObject({ sandbox: name });
      });
    } finally {
      await sandbox.stop();
    }
  }

  /** Takes each verb that is needed away, one at a time. */
  async function expectClearLines(objects: ReadonlyMap<string, Json>, role: Json, where: string): Promise<void> {
    for (const verb of ["list", "watch"]) {
      await permit(
        api(),
        role,
        ["get", "list", "watch"].filter((other) => other !== verb),
      );
      await using ingress = await runDeployed(objects);
      const line = `cannot ${verb} batchsandboxes.sandbox.opensandbox.io ${where}: permission denied: grant get, list and watch`;
      await eventually(() => ingress.readOutput().replaceAll('\\"', '"').includes(line));
      expect(await isAnswering(`${ingress.adminOrigin}/readyz`)).toBe(false);
      expect(await isAnswering(`${ingress.adminOrigin}/livez`)).toBe(true);
      await permit(api(), role, ["get", "list", "watch"]);
      await eventually(() => isAnswering(`${ingress.adminOrigin}/readyz`));
    }
  }

  test("deploy/base is accepted, and its role is all that the program needs and no less", async () => {
    const objects = await renderKustomization("deploy/base");
    await apply(api(), objects);
    {
      await using ingress = await runDeployed(objects);
      await eventually(() => isAnswering(`${ingress.adminOrigin}/readyz`));
      await expectRouted(ingress, BATCH_SANDBOX, "opensandbox");
      expect(ingress.readOutput()).not.toContain("cannot");
    }
    const role = objects.get("Role");
    expect(role).toMatchObject({
      rules: [
        { apiGroups: ["sandbox.opensandbox.io"], resources: ["batchsandboxes"], verbs: ["get", "list", "watch"] },
      ],
    });
    if (role !== undefined) await expectClearLines(objects, role, 'in namespace "opensandbox"');
  });

  test("deploy/overlays/all-namespaces is accepted, and reaches sandboxes in every namespace", async () => {
    const objects = await renderKustomization("deploy/overlays/all-namespaces");
    expect([...objects.keys()]).not.toContain("Role");
    await apply(api(), objects);
    {
      await using ingress = await runDeployed(objects);
      await eventually(() => isAnswering(`${ingress.adminOrigin}/readyz`));
      await expectRouted(ingress, BATCH_SANDBOX, "opensandbox-system");
      await expectRouted(ingress, BATCH_SANDBOX, "elsewhere");
    }
    const role = objects.get("ClusterRole");
    if (role !== undefined) await expectClearLines(objects, role, "in all namespaces");
    for (const kind of ["ClusterRole", "ClusterRoleBinding"]) {
      await api().request("DELETE", `/apis/${RBAC}/${PLURALS[kind]}/${NAME}`);
    }
  });

  test("deploy/components/agent-sandbox changes provider and role together", async () => {
    const folder = join(import.meta.dir, "../../.cache", `overlay-${process.pid}`);
    mkdirSync(folder, { recursive: true });
    try {
      const overlay = {
        namespace: "elsewhere",
        resources: ["../../deploy/base"],
        components: ["../../deploy/components/agent-sandbox"],
      };
      writeFileSync(join(folder, "kustomization.yaml"), JSON.stringify(overlay));
      const objects = await renderKustomization(folder);
      await apply(api(), objects);
      await using ingress = await runDeployed(objects);
      await eventually(() => isAnswering(`${ingress.adminOrigin}/readyz`));
      await expectRouted(ingress, AGENT_SANDBOX, "elsewhere");
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test("deploy/base keeps the names by which others find the gateway", async () => {
    const objects = await renderKustomization("deploy/base");
    for (const kind of ["ServiceAccount", "Deployment", "Service"]) {
      expect(dig(objects.get(kind), "metadata", "name")).toBe(NAME);
    }
    const container = dig(objects.get("Deployment"), "spec", "template", "spec", "containers", 0);
    expect(container).toMatchObject({
      name: "main",
      ports: [
        { name: "http", containerPort: 28888 },
        { name: "admin", containerPort: 28889 },
      ],
    });
    expect(dig(objects.get("Service"), "spec", "ports", 0)).toMatchObject({ port: 80, targetPort: "http" });
  });

  test("deploy/base makes pods that the restricted pod security standard admits", async () => {
    const objects = await renderKustomization("deploy/base");
    const spec = dig(objects.get("Deployment"), "spec", "template", "spec");
    const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
    await api().request("POST", "/api/v1/namespaces", { metadata: { name: "restricted", labels } });
    const pods = "/api/v1/namespaces/restricted/pods";
    const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "as-deployed" }, spec };
    await api().request("POST", `${pods}?fieldValidation=Strict`, pod);
    const plain = { ...pod, metadata: { name: "plain" }, spec: { containers: [{ name: "main", image: "x" }] } };
    expect(api().request("POST", pods, plain)).rejects.toThrow("violates PodSecurity");
    expect(dig(spec, "containers", 0, "securityContext", "readOnlyRootFilesystem")).toBe(true);
  });
});
