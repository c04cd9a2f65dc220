import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startSampleSandbox } from "../../scripts/lib/demo/sample-sandbox.ts";
import { buildBinary } from "../support/binary.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { isAnswering, runToEnd, startIngressProcess, type IngressProcess } from "../../scripts/lib/ingress-process.ts";
import type { Json, KubeApiServer } from "../../scripts/lib/kube/kube-api-server.ts";
import { hasKubeApiServer, useKubeApiServer } from "../support/kube-fixture.ts";
import { requestToken } from "../support/kube-rbac.ts";
import {
  AGENT_SANDBOX,
  BATCH_SANDBOX,
  collectionPath,
  createNamespace,
  createObject,
  installCrd,
  readyAt,
  type KubeKind,
} from "../../scripts/lib/kube/kube-resources.ts";
import { dig, renderKustomization } from "../support/kustomize.ts";
import { tempDir } from "../support/temp-dir.ts";

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
  NetworkPolicy: "networkpolicies",
  HorizontalPodAutoscaler: "horizontalpodautoscalers",
  ValidatingAdmissionPolicy: "validatingadmissionpolicies",
  ValidatingAdmissionPolicyBinding: "validatingadmissionpolicybindings",
};

function pathOf(object: Json): string {
  const version = String(object["apiVersion"]);
  const namespace = dig(object, "metadata", "namespace");
  const scope = typeof namespace === "string" ? `/namespaces/${namespace}` : "";
  return `/${version === "v1" ? "api" : "apis"}/${version}${scope}/${PLURALS[String(object["kind"])]}`;
}

const COMPONENTS = ["network-policy", "autoscaling", "secure-access", "renew"] as const;

/** The objects of an overlay of the base with components. */
async function renderOverlay(namespace: string, components: readonly string[]): Promise<ReadonlyMap<string, Json>> {
  // A copy: Kustomize takes no absolute paths, and follows links.
  using dir = tempDir();
  cpSync(join(import.meta.dir, "../../deploy"), join(dir.path, "deploy"), { recursive: true });
  const folder = join(dir.path, "overlay");
  mkdirSync(folder);
  const overlay = {
    namespace,
    resources: ["../deploy/base"],
    components: components.map((name) => `../deploy/components/${name}`),
  };
  writeFileSync(join(folder, "kustomization.yaml"), JSON.stringify(overlay));
  return await renderKustomization(folder);
}

/** A list of objects in the order of their names: kustomize does not promise one. */
const sortedByName = (list: unknown): readonly unknown[] =>
  Array.isArray(list) ? list.toSorted((a, b) => String(dig(a, "name")).localeCompare(String(dig(b, "name")))) : [];

const containerOf = (objects: ReadonlyMap<string, Json>): unknown =>
  dig(objects.get("Deployment"), "spec", "template", "spec", "containers", 0);

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
    for (const namespace of ["opensandbox", "opensandbox-system", "elsewhere", "complete"])
      await createNamespace(api(), namespace);
  }, 120_000);

  /**
   * Runs the binary as the Deployment would: its flags, and a token of its service account. `secrets` stand in for what is
   * mounted or comes into the environment from Secrets, by the text in the flags.
   */
  async function runDeployed(
    objects: ReadonlyMap<string, Json>,
    secrets: Readonly<Record<string, string>> = {},
  ): Promise<IngressProcess> {
    const namespace = String(dig(objects.get("Deployment"), "metadata", "namespace"));
    const args = dig(containerOf(objects), "args");
    const known = Object.entries({ "$(POD_NAMESPACE)": namespace, ...secrets });
    const flags = (Array.isArray(args) ? args : [])
      .map((arg) => known.reduce((flag, [text, value]) => flag.replace(text, value), String(arg)))
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

  /** Creates a sandbox with a token, to which only a route with a valid signature leads. */
  async function expectSigned(ingress: IngressProcess, options: { namespace: string; key: string }): Promise<void> {
    const sandbox = startSampleSandbox("secured", { address: "127.0.0.1", port: 0 });
    const { annotations, ...rest } = readyAt("127.0.0.1");
    const token = { "opensandbox.io/secure-access-token": "0123456789abcdef" };
    const spec = { namespace: options.namespace, name: sandbox.name, annotations: { ...annotations, ...token } };
    await createObject(api(), BATCH_SANDBOX, { ...spec, ...rest });
    const flags = [`--key=a=${options.key}`, `--id=${sandbox.name}`, `--port=${sandbox.port}`, "--expires=1h"];
    const { stdout } = await runToEnd([binary, "sign", ...flags]);
    const route = /OpenSandbox-Ingress-To: *(\S+)/i.exec(stdout)?.[1] ?? "";
    const ask = (to: string) => fetch(`${ingress.origin}/echo`, { headers: { "OpenSandbox-Ingress-To": to } });
    try {
      await eventually(async () => (await ask(`${sandbox.name}-${sandbox.port}`)).status === 401);
      expect((await ask(route)).status).toBe(200);
    } finally {
      await sandbox.stop();
    }
  }

  /** Takes the verb away without which nothing works. Where the API server streams lists, `list` is for what streaming cannot do. */
  async function expectClearLines(objects: ReadonlyMap<string, Json>, role: Json, where: string): Promise<void> {
    for (const verb of ["watch"]) {
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
    const objects = await renderOverlay("elsewhere", ["agent-sandbox"]);
    await apply(api(), objects);
    await using ingress = await runDeployed(objects);
    await eventually(() => isAnswering(`${ingress.adminOrigin}/readyz`));
    await expectRouted(ingress, AGENT_SANDBOX, "elsewhere");
  });

  test("deploy/components work together: all are accepted, and the program accepts their flags", async () => {
    using dir = tempDir();
    const objects = await renderOverlay("complete", COMPONENTS);
    for (const kind of ["NetworkPolicy", "HorizontalPodAutoscaler"]) expect([...objects.keys()]).toContain(kind);
    expect(dig(objects.get("Deployment"), "spec", "replicas")).toBeUndefined();
    await apply(api(), objects);
    const key = Buffer.alloc(32, 7).toString("base64");
    writeFileSync(join(dir.path, "keys"), `a=${key}\n`);
    const asked = Promise.withResolvers<void>();
    using redis = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { open: () => asked.resolve(), data() {} } });
    writeFileSync(join(dir.path, "dsn"), `redis://127.0.0.1:${redis.port}/0\n`);
    await using ingress = await runDeployed(objects, {
      "/etc/opensandbox-ingress/access-keys": dir.path,
      "/etc/opensandbox-ingress/renew": dir.path,
    });
    await eventually(() => isAnswering(`${ingress.adminOrigin}/readyz`));
    await expectRouted(ingress, BATCH_SANDBOX, "complete");
    await asked.promise;
    await expectSigned(ingress, { namespace: "complete", key });
  });

  test.each([
    ["BatchSandbox", BATCH_SANDBOX, ["wake"], { pause: true }, { pause: false }],
    ["Sandbox", AGENT_SANDBOX, ["agent-sandbox", "wake"], { operatingMode: "Suspended" }, { operatingMode: "Running" }],
  ] as const)(
    "deploy/components/wake lets the ingress make a %s run, and change nothing else",
    async (_, kind, components, paused, running) => {
      const namespace = `waking-${kind.plural}`;
      await createNamespace(api(), namespace);
      const objects = await renderOverlay(namespace, components);
      expect(dig(containerOf(objects), "args")).toContain("--wake-enabled");
      await apply(api(), objects);
      await apply(api(), await renderKustomization("deploy/wake-policy"));
      const base = await createObject(api(), kind, { namespace, name: "sb", annotations: { kept: "1" }, status: {} });
      const path = `${collectionPath(kind, namespace)}/sb`;
      const patchAs = (token: string, patch: Json, at = path) =>
        api().request("PATCH", at, patch, { token, contentType: "application/merge-patch+json" });
      const token = await requestToken(api(), namespace, NAME);
      // A policy counts a moment after it is created.
      await eventually(async () => {
        await patchAs(api().adminToken, { spec: { ...paused, image: "theirs" } });
        const said = await patchAs(token, { spec: { ...running, image: "ours" } }).catch(String);
        expect(said).toContain("nothing of a spec");
      });
      const refused = [
        { spec: { image: "ours" } },
        { spec: { ...running, image: null } },
        { spec: { ...running, command: ["sh"] } },
        { spec: null },
        { spec: paused },
        { metadata: { annotations: { kept: "2" } } },
        { metadata: { annotations: { "opensandbox.io/secure-access-token": "x" } }, spec: running },
        { metadata: { labels: { a: "b" } }, spec: running },
        { metadata: { finalizers: ["a.test/b"] }, spec: running },
      ];
      for (const patch of refused) expect(await patchAs(token, patch).catch(String)).toContain("the ingress may");
      for (const method of ["DELETE", "PUT"]) {
        expect(await api().request(method, path, base, { token }).catch(String)).toContain(": 403 ");
      }
      expect(await patchAs(token, { status: { ready: 1 } }, `${path}/status`).catch(String)).toContain(": 403 ");
      expect(await api().request("GET", path)).toMatchObject({ spec: { ...paused, image: "theirs" } });
      await patchAs(token, { spec: running });
      expect(await api().request("GET", path)).toMatchObject({
        metadata: { annotations: { kept: "1" } },
        spec: { ...running, image: "theirs" },
      });
      for (const plural of ["validatingadmissionpolicies", "validatingadmissionpolicybindings"]) {
        await api().request("DELETE", `/apis/admissionregistration.k8s.io/v1/${plural}/${NAME}-wake`);
      }
    },
  );

  test("deploy/components name the Secrets and mounts that their flags read", async () => {
    const objects = await renderOverlay("complete", COMPONENTS);
    const spec = dig(objects.get("Deployment"), "spec", "template", "spec");
    expect(sortedByName(dig(spec, "volumes"))).toMatchObject([
      { name: "access-keys", secret: { secretName: "opensandbox-ingress-access-keys" } },
      { name: "renew", secret: { secretName: "opensandbox-ingress-renew" } },
    ]);
    const container = containerOf(objects);
    expect(sortedByName(dig(container, "volumeMounts"))).toEqual([
      { name: "access-keys", mountPath: "/etc/opensandbox-ingress/access-keys", readOnly: true },
      { name: "renew", mountPath: "/etc/opensandbox-ingress/renew", readOnly: true },
    ]);
    expect(dig(container, "args")).toContain("--secure-access-keys-file=/etc/opensandbox-ingress/access-keys/keys");
    expect(dig(container, "args")).toContain("--renew-intent-redis-dsn-file=/etc/opensandbox-ingress/renew/dsn");
  });

  test("deploy/base keeps the names by which others find the gateway", async () => {
    const objects = await renderKustomization("deploy/base");
    for (const kind of ["ServiceAccount", "Deployment", "Service"]) {
      expect(dig(objects.get(kind), "metadata", "name")).toBe(NAME);
    }
    expect(containerOf(objects)).toMatchObject({
      name: "main",
      ports: [
        { name: "http", containerPort: 28888 },
        { name: "admin", containerPort: 28889 },
      ],
    });
    expect(dig(objects.get("Service"), "spec", "ports", 0)).toMatchObject({ port: 80, targetPort: "http" });
  });

  test("deploy/base, also with all components, makes pods that the restricted pod security standard admits", async () => {
    const objects = await renderOverlay("restricted", COMPONENTS);
    const spec = dig(objects.get("Deployment"), "spec", "template", "spec");
    const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
    await api().request("POST", "/api/v1/namespaces", { metadata: { name: "restricted", labels } });
    const pods = "/api/v1/namespaces/restricted/pods";
    const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "as-deployed" }, spec };
    await api().request("POST", `${pods}?fieldValidation=Strict`, pod);
    const base = dig((await renderKustomization("deploy/base")).get("Deployment"), "spec", "template", "spec");
    await api().request("POST", `${pods}?fieldValidation=Strict`, { ...pod, metadata: { name: "base" }, spec: base });
    const plain = { ...pod, metadata: { name: "plain" }, spec: { containers: [{ name: "main", image: "x" }] } };
    expect(await api().request("POST", pods, plain).catch(String)).toContain("violates PodSecurity");
    expect(dig(spec, "containers", 0, "securityContext", "readOnlyRootFilesystem")).toBe(true);
  });
});
