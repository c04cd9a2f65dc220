import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Json } from "../../scripts/lib/kube/kube-api-server.ts";
import { createNamespace } from "../../scripts/lib/kube/kube-resources.ts";
import { writeExistingChart } from "../support/existing-chart.ts";
import { CHART, hasHelm, helm, parseObjects, RELEASE, renderChart, runHelm } from "../support/helm.ts";
import { hasKubeApiServer, useKubeApiServer } from "../support/kube-fixture.ts";
import {
  checkApply,
  createStrictly,
  findObject,
  mergeInto,
  type ObjectReference,
  removeObject,
} from "../support/kube-objects.ts";
import { dig, renderKustomization } from "../support/kustomize.ts";
import { listOf } from "../support/rendered-chart.ts";
import { tempDir } from "../support/temp-dir.ts";

setDefaultTimeout(120_000);

const RBAC = "rbac.authorization.k8s.io/v1";
const NAMESPACE = "opensandbox-system";
const DEPLOYMENT: ObjectReference = { apiVersion: "apps/v1", kind: "Deployment", name: RELEASE, namespace: NAMESPACE };
const SERVICE: ObjectReference = { apiVersion: "v1", kind: "Service", name: RELEASE, namespace: NAMESPACE };
const CLUSTER_ROLE: ObjectReference = { apiVersion: RBAC, kind: "ClusterRole", name: `${RELEASE}-reader-full` };
const ROLE: ObjectReference = { apiVersion: RBAC, kind: "Role", name: RELEASE, namespace: "opensandbox" };

/** What an operator of the existing chart has set. */
const OPERATOR_VALUES: Json = {
  gateway: {
    replicaCount: 4,
    gatewayRouteMode: "uri",
    resources: { limits: { memory: "1Gi" } },
    secureAccess: { existingSecret: "signing-keys" },
    service: { port: 8080 },
  },
};

const containerOf = (deployment: unknown): unknown => dig(deployment, "spec", "template", "spec", "containers", 0);

describe.skipIf(!hasHelm() || !hasKubeApiServer())("upgrading to deploy/chart on a real API server", () => {
  const api = useKubeApiServer();
  const dir = tempDir();
  let kubeconfig = "";
  beforeAll(async () => {
    kubeconfig = api().writeKubeconfig("helm");
    for (const namespace of [NAMESPACE, "opensandbox", "by-kustomize"]) await createNamespace(api(), namespace);
  });
  const find = (reference: ObjectReference) => findObject(api(), reference);
  const release = (...args: readonly string[]) => helm([...args, `--namespace=${NAMESPACE}`], { kubeconfig });

  test("the existing chart's release becomes ours with the values that it has, in place, and back", async () => {
    const existing = writeExistingChart(dir.path);
    await helm(["install", RELEASE, existing, `--namespace=${NAMESPACE}`], { kubeconfig, values: OPERATOR_VALUES });
    const [before, serviceBefore] = [await find(DEPLOYMENT), await find(SERVICE)];
    expect(containerOf(before)).toMatchObject({ image: "registry.example.com/go-ingress:release-1.1.1" });

    // Tools that render and apply, such as Argo CD, get through, too.
    for (const object of await renderChart({ values: OPERATOR_VALUES })) {
      const applied = await checkApply(api(), object);
      if (object["kind"] !== "Deployment") continue;
      expect(listOf(dig(containerOf(applied), "args"))).toEqual(listOf(dig(containerOf(object), "args")));
    }

    const image = "--set=gateway.image.repository=registry.example.com/ingress";
    await release("upgrade", RELEASE, CHART, "--reset-then-reuse-values", image);
    const after = await find(DEPLOYMENT);
    expect(dig(after, "metadata", "uid")).toBe(dig(before, "metadata", "uid"));
    expect(dig(after, "spec", "selector")).toEqual(dig(before, "spec", "selector"));
    expect(dig(after, "spec", "replicas")).toBe(4);
    const container = containerOf(after);
    expect(container).toMatchObject({
      name: "main",
      image: "registry.example.com/ingress:0.1.0",
      resources: { limits: { memory: "1Gi" } },
      livenessProbe: { httpGet: { path: "/livez", port: "admin" } },
      readinessProbe: { httpGet: { path: "/readyz", port: "admin" } },
    });
    // Neither the old argument nor its variable is left, or the program would have the keys twice.
    const args = listOf(dig(container, "args"));
    expect(args).toContain("--mode=uri");
    expect(args).toContain("--secure-access-keys-file=/etc/opensandbox-ingress/access-keys/keys");
    expect(JSON.stringify(container)).not.toContain("OPENSANDBOX_SECURE_ACCESS_KEYS");
    expect(args.filter((arg) => String(arg).startsWith("--trusted-proxies"))).toEqual([]);

    const service = await find(SERVICE);
    for (const field of ["clusterIP", "selector"]) {
      expect(dig(service, "spec", field)).toEqual(dig(serviceBefore, "spec", field));
    }
    expect(dig(service, "spec", "ports", 0)).toMatchObject({ name: "http", port: 8080, targetPort: "http" });
    // The new account's permission is narrower: one namespace, no pods.
    expect(await find(CLUSTER_ROLE)).toBeUndefined();
    expect(await find(ROLE)).toBeDefined();

    await release("rollback", RELEASE, "1");
    expect(containerOf(await find(DEPLOYMENT))).toEqual(containerOf(before));
    expect(await find(CLUSTER_ROLE)).toBeDefined();
    expect(await find(ROLE)).toBeUndefined();
    await release("upgrade", RELEASE, CHART, "--reset-then-reuse-values", image, "--set=gateway.allNamespaces=true");
    expect(dig(await find(CLUSTER_ROLE), "rules")).toEqual([
      { apiGroups: ["sandbox.opensandbox.io"], resources: ["batchsandboxes"], verbs: ["get", "list", "watch"] },
    ]);
  });

  test("the autoscaler's number of replicas stays when autoscaling is turned on, and at later upgrades", async () => {
    const upgrade = (...sets: readonly string[]) =>
      release("upgrade", "--install", RELEASE, CHART, ...sets.map((set) => `--set=${set}`));
    await upgrade("gateway.replicaCount=6");
    await upgrade("autoscaling.enabled=true");
    expect(dig(await find(DEPLOYMENT), "spec", "replicas")).toBe(6);
    await mergeInto(api(), DEPLOYMENT, { spec: { replicas: 9 } });
    await upgrade("autoscaling.enabled=true", "gateway.logLevel=debug");
    expect(dig(await find(DEPLOYMENT), "spec", "replicas")).toBe(9);
    await upgrade("gateway.replicaCount=2");
    expect(dig(await find(DEPLOYMENT), "spec", "replicas")).toBe(2);
  });

  test("objects of deploy/base are taken over once the Deployment with its other selector is deleted", async () => {
    const text = JSON.stringify([...(await renderKustomization("deploy/base")).values()]);
    const objects = parseObjects(text.replaceAll('"opensandbox"', '"by-kustomize"'));
    for (const object of objects) await createStrictly(api(), object);
    const deployment = { ...DEPLOYMENT, namespace: "by-kustomize" };
    const flags = ["--take-ownership", "--namespace=by-kustomize"];
    const values = { namespaceOverride: "by-kustomize", gateway: { dataplaneNamespace: "by-kustomize" } };
    const install = () => runHelm(["upgrade", "--install", RELEASE, CHART, ...flags], { kubeconfig, values });
    expect((await install()).stderr).toContain("field is immutable");
    await removeObject(api(), deployment);
    expect(await install()).toMatchObject({ stderr: "", exitCode: 0 });
    const selector = dig(await find(deployment), "spec", "selector", "matchLabels");
    expect(selector).toEqual(dig(await rendered(values), "spec", "selector", "matchLabels"));
    const role = await find({ ...ROLE, namespace: "by-kustomize" });
    expect(dig(role, "metadata", "labels", "app.kubernetes.io/managed-by")).toBe("Helm");
  });
});

async function rendered(values: Json): Promise<Json | undefined> {
  return (await renderChart({ values })).find(({ kind }) => kind === "Deployment");
}
