import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { HELM_BUILD_MAX_MS } from "../../scripts/lib/kube/helm-binary.ts";
import { ACCESS_KEY, CHART_VALUES, type ChartValuesName, IMAGE_DIGEST } from "../support/chart-values.ts";
import { hasHelm, RELEASE } from "../support/helm.ts";
import { dig } from "../support/kustomize.ts";
import { listOf, type Rendered, renderObjects } from "../support/rendered-chart.ts";

setDefaultTimeout(60_000);

const MOUNTS = "/etc/opensandbox-ingress";
const { version }: { version: string } = await import("../../package.json");

describe.skipIf(!hasHelm())("what deploy/chart makes of values", () => {
  beforeAll(async () => {
    await rendered("defaults");
  }, HELM_BUILD_MAX_MS);

  test("defaults are those of deploy/base, and nothing optional but the disruption budget is there", async () => {
    const all = await rendered("defaults");
    expect(new Set(all.objects.map((object) => object["kind"]))).toEqual(
      new Set(["Deployment", "Pod", "PodDisruptionBudget", "Role", "RoleBinding", "Service", "ServiceAccount"]),
    );
    expect(all.args).toEqual([
      "--namespace=opensandbox",
      "--provider-type=batchsandbox",
      "--mode=header",
      "--port=28888",
      "--log-level=info",
      "--log-format=json",
    ]);
    expect(dig(all.the("Deployment"), "metadata", "namespace")).toBe("opensandbox-system");
    expect(dig(all.the("Role"), "metadata", "namespace")).toBe("opensandbox");
  });

  test("existing: every value of the existing chart has its effect", async () => {
    const all = await rendered("existing");
    const given = (...path: readonly string[]) => dig(CHART_VALUES.existing, "gateway", ...path);
    const spec = dig(all.the("Deployment"), "spec");
    expect(dig(spec, "replicas")).toBe(3);
    expect(dig(spec, "template", "metadata")).toMatchObject({
      annotations: { "example.com/owner": "platform" },
      labels: { team: "platform" },
    });
    expect(all.pod).toMatchObject({
      imagePullSecrets: [{ name: "registry" }],
      nodeSelector: given("nodeSelector"),
      priorityClassName: "system-cluster-critical",
      topologySpreadConstraints: given("topologySpreadConstraints"),
      tolerations: given("tolerations"),
      affinity: given("affinity"),
      securityContext: { fsGroup: 65_532, runAsNonRoot: true },
      volumes: [{ name: "access-keys", secret: { secretName: "signing-keys" } }],
    });
    expect(listOf(dig(all.pod, "topologySpreadConstraints"))).toHaveLength(1);
    expect(all.container).toMatchObject({
      image: "registry.example.com/ingress:0.1.0",
      imagePullPolicy: "Always",
      resources: given("resources"),
      securityContext: { runAsUser: 10_001, readOnlyRootFilesystem: true },
    });
    expect(dig(all.container, "env")).toContainEqual({ name: "OTEL_METRICS_EXPORTER", value: "none" });
    expect(all.args).toContain("--fastpath-endpoint=fastlet.opensandbox-system:9000");
    expect(all.args).toContain(`--secure-access-keys-file=${MOUNTS}/access-keys/keys`);
    expect(all.config).toMatchObject({ mode: "uri", logLevel: "warn" });
    const service = all.all("Service").find((object) => dig(object, "metadata", "name") === RELEASE);
    expect(service?.["spec"]).toMatchObject({ type: "NodePort", ports: [{ port: 8080, nodePort: 30_080 }] });
  });

  test("production: the image by digest, every Secret as a file, and all that guards and scales it", async () => {
    const all = await rendered("production");
    expect(dig(all.container, "image")).toBe(`opensandbox/ingress:${version}@${IMAGE_DIGEST}`);
    expect(all.args).toContain("--endpoint-ranges=10.244.0.0/16,fd00:10:244::/56");
    expect(all.args).toContain(`--admin-token-file=${MOUNTS}/admin-token/token`);
    expect(all.args).toContain(`--tls-cert-file=${MOUNTS}/tls/tls.crt`);
    expect(all.args).toContain(`--renew-intent-redis-dsn-file=${MOUNTS}/renew/dsn`);
    expect(dig(all.the("Deployment"), "spec", "replicas")).toBeUndefined();
    expect(dig(all.the("HorizontalPodAutoscaler"), "spec")).toMatchObject({ minReplicas: 3, maxReplicas: 20 });
    expect(dig(all.the("PodMonitor"), "metadata", "labels", "release")).toBe("prometheus");
    expect(dig(all.the("PodMonitor"), "spec", "podMetricsEndpoints", 0)).toMatchObject({
      port: "admin",
      path: "/metrics",
    });
    const [policy, forTest] = all.all("NetworkPolicy");
    expect(dig(policy, "spec", "ingress")).toEqual([
      {
        from: [{ ipBlock: { cidr: "10.1.2.0/24" } }],
        ports: [
          { port: "http", protocol: "TCP" },
          { port: "https", protocol: "TCP" },
        ],
      },
      {
        from: [{ namespaceSelector: { matchLabels: { "opensandbox.io/ingress-monitoring": "true" } } }],
        ports: [{ port: "admin", protocol: "TCP" }],
      },
    ]);
    const egress = listOf(dig(policy, "spec", "egress"));
    expect(egress[1]).toMatchObject({
      to: [{ ipBlock: { cidr: "10.0.0.1/32" } }],
      ports: [{ port: 443 }, { port: 6443 }],
    });
    expect(egress.at(-1)).toMatchObject({ ports: [{ port: 6379 }] });
    // Only while `helm test` runs, and only its pod.
    expect(dig(forTest, "metadata", "annotations", "helm.sh/hook")).toBe("test");
    const labels = dig(all.the("Pod"), "metadata", "labels");
    expect(dig(forTest, "spec", "ingress", 0, "from")).toEqual([{ podSelector: { matchLabels: labels } }]);
  });

  test("rbac.create=false leaves roles to the operator, and the account stays", async () => {
    const all = await renderObjects({ rbac: { create: false } });
    const kinds = all.objects.map((object) => object["kind"]);
    expect(kinds).toContain("ServiceAccount");
    expect(kinds.filter((kind) => String(kind).includes("Role"))).toEqual([]);
  });

  test("agentsEverywhere: a ClusterRole for agents.x-k8s.io, of the existing chart's name", async () => {
    const all = await rendered("agentsEverywhere");
    expect(dig(all.the("ClusterRole"), "metadata", "name")).toBe("agents-ingress-reader-full");
    expect(all.all("Role")).toEqual([]);
    expect(all.args).toContain("--all-namespaces");
    expect(dig(all.the("PodDisruptionBudget"), "spec", "maxUnavailable")).toBe("50%");
  });

  test("unusual: what the values say twice counts once", async () => {
    const all = await rendered("unusual");
    const name = `${RELEASE}-edge`;
    expect(dig(all.the("Deployment"), "metadata", "name")).toBe(name);
    const labels = dig(all.the("Deployment"), "spec", "template", "metadata", "labels");
    expect(labels).toMatchObject({
      "app.kubernetes.io/name": name,
      "app.kubernetes.io/instance": RELEASE,
      team: "edge",
    });
    const variables = listOf(dig(all.container, "env")).map((variable) => String(dig(variable, "name")));
    expect(variables.toSorted()).toEqual(["HOST_IP", "NODE_IP", "POD_IPS", "POD_NAMESPACE"]);
    expect(dig(all.the("Secret"), "stringData")).toEqual({ keys: `a=${ACCESS_KEY},1=${ACCESS_KEY}` });
    expect(dig(all.pod, "volumes", 0, "secret", "secretName")).toBe(dig(all.the("Secret"), "metadata", "name"));
    expect(all.config).toMatchObject({ namespaces: ["team-a", "team-b"], logLevel: "debug" });
    expect(all.all("Role").map((role) => dig(role, "metadata", "namespace"))).toEqual(["team-a", "team-b"]);
    expect(all.all("PodDisruptionBudget")).toEqual([]);
    const service = all.all("Service").find((object) => dig(object, "metadata", "name") === name);
    expect(dig(service, "metadata", "annotations")).toEqual({ "example.com/kind": "nlb" });
    expect(service?.["spec"]).toMatchObject({ type: "LoadBalancer", externalTrafficPolicy: "Local" });
  });

  test("wake: the permission to patch comes with a policy for exactly this account", async () => {
    const all = await rendered("wake");
    expect(all.args).toContain("--wake-enabled");
    const policy = all.the("ValidatingAdmissionPolicy");
    const [condition] = listOf(dig(policy, "spec", "matchConditions"));
    const account = `'system:serviceaccount:waking:${RELEASE}'`;
    expect(dig(condition, "expression")).toBe(`request.userInfo.username == ${account}`);
    const binding = all.the("ValidatingAdmissionPolicyBinding");
    expect(binding["spec"]).toEqual({ policyName: dig(policy, "metadata", "name"), validationActions: ["Deny"] });
  });
});

const rendered = (name: ChartValuesName): Promise<Rendered> => renderObjects(CHART_VALUES[name], { hooks: true });
