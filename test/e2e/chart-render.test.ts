import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { HELM_BUILD_MAX_MS } from "../../scripts/lib/kube/helm-binary.ts";
import type { Json } from "../../scripts/lib/kube/kube-api-server.ts";
import { ACCESS_KEY, CHART_VALUES, CHART_VALUES_NAMES, type ChartValuesName } from "../support/chart-values.ts";
import { CHART, hasHelm, helm, RELEASE, runHelm } from "../support/helm.ts";
import { dig } from "../support/kustomize.ts";
import { entriesOf, listOf, type Rendered, renderObjects } from "../support/rendered-chart.ts";

setDefaultTimeout(60_000);

describe.skipIf(!hasHelm())("deploy/chart", () => {
  const cache = new Map<ChartValuesName, Rendered>();
  const rendered = (name: ChartValuesName): Rendered => {
    const found = cache.get(name);
    if (found === undefined) throw new Error(`${name} is not rendered`);
    return found;
  };
  beforeAll(async () => {
    for (const name of CHART_VALUES_NAMES) cache.set(name, await renderObjects(CHART_VALUES[name], { hooks: true }));
  }, HELM_BUILD_MAX_MS);

  describe.each(CHART_VALUES_NAMES)("with the values %s", (name) => {
    test("helm lint --strict finds nothing, and the schema accepts the values", async () => {
      expect(await helm(["lint", "--strict", CHART], { values: CHART_VALUES[name] })).toContain("0 chart(s) failed");
    });

    test("the selector is the existing chart's, and all that selects pods selects these", () => {
      const all = rendered(name);
      const fullname = dig(all.the("Deployment"), "metadata", "name");
      const selector = { "app.kubernetes.io/name": fullname, "app.kubernetes.io/instance": RELEASE };
      const labels = dig(all.the("Deployment"), "spec", "template", "metadata", "labels");
      expect(labels).toMatchObject(selector);
      const gateways = all.objects.filter((object) => dig(object, "metadata", "name") === fullname);
      for (const { kind, spec } of gateways) {
        const selecting: Readonly<Record<string, unknown>> = {
          Deployment: dig(spec, "selector", "matchLabels"),
          Service: dig(spec, "selector"),
          PodDisruptionBudget: dig(spec, "selector", "matchLabels"),
          NetworkPolicy: dig(spec, "podSelector", "matchLabels"),
          PodMonitor: dig(spec, "selector", "matchLabels"),
        };
        if (String(kind) in selecting)
          expect({ kind, selects: selecting[String(kind)] }).toEqual({ kind, selects: selector });
      }
    });

    test("the names by which others find the gateway are kept", () => {
      const all = rendered(name);
      const hasTls = all.args.some((arg) => arg.startsWith("--tls-cert-file="));
      const fullname = dig(all.the("Deployment"), "metadata", "name");
      for (const kind of ["ServiceAccount", "Deployment"])
        expect(dig(all.the(kind), "metadata", "name")).toBe(fullname);
      expect(dig(all.pod, "serviceAccountName")).toBe(fullname);
      expect(dig(all.container, "name")).toBe("main");
      expect(listOf(dig(all.container, "ports")).map((port) => dig(port, "name"))).toEqual([
        "http",
        "admin",
        ...(hasTls ? ["https"] : []),
      ]);
      const service = all.all("Service").find((object) => dig(object, "metadata", "name") === fullname);
      expect(dig(service, "spec", "ports", 0)).toMatchObject({ name: "http", targetPort: "http" });
      expect(listOf(dig(service, "spec", "ports"))).toHaveLength(hasTls ? 2 : 1);
    });

    test("the program accepts the arguments, and listens on the ports of the container", () => {
      const { config, container } = rendered(name);
      expect(config.port).toBe(Number(dig(container, "ports", 0, "containerPort")));
      expect(config.adminPort).toBe(Number(dig(container, "ports", 1, "containerPort")));
    });

    test("--trusted-proxies is passed only where the values have it", () => {
      const trustedProxies = dig(CHART_VALUES[name], "gateway", "trustedProxies");
      const passed = rendered(name).args.filter((arg) => arg.startsWith("--trusted-proxies"));
      expect(passed).toEqual(typeof trustedProxies === "string" ? [`--trusted-proxies=${trustedProxies}`] : []);
    });

    test("every file in an argument is in a mounted Secret, and no Secret is in an argument or a variable", () => {
      const { args, container, pod } = rendered(name);
      const files = args.flatMap((arg) => /=(\/\S+)\/[\w.]+$/.exec(arg)?.[1] ?? []);
      const mounts = listOf(dig(container, "volumeMounts"));
      expect(mounts.map((mount) => String(dig(mount, "mountPath"))).toSorted()).toEqual([...new Set(files)].toSorted());
      const volumes = listOf(dig(pod, "volumes"));
      expect(mounts.map((mount) => dig(mount, "name"))).toEqual(volumes.map((volume) => dig(volume, "name")));
      for (const mount of mounts) expect(dig(mount, "readOnly")).toBe(true);
      for (const volume of volumes) expect(dig(volume, "secret", "secretName")).toBeString();
      const text = JSON.stringify(pod);
      expect(text).not.toContain(ACCESS_KEY);
      expect(text).not.toContain("secretKeyRef");
    });

    test("the role lets the account read one kind of sandbox, and the kind is that of the provider", () => {
      const all = rendered(name);
      const group = all.config.providerType === "agent-sandbox" ? "agents.x-k8s.io" : "sandbox.opensandbox.io";
      const resource = all.config.providerType === "agent-sandbox" ? "sandboxes" : "batchsandboxes";
      const verbs = ["get", "list", "watch", ...(name === "wake" ? ["patch"] : [])];
      const roles = [...all.all("Role"), ...all.all("ClusterRole")];
      for (const role of roles) expect(role["rules"]).toEqual([{ apiGroups: [group], resources: [resource], verbs }]);
      const namespaces = all.config.allNamespaces ? [undefined] : all.config.namespaces;
      expect(roles.map((role) => dig(role, "metadata", "namespace"))).toEqual([...namespaces]);
      const bindings = [...all.all("RoleBinding"), ...all.all("ClusterRoleBinding")];
      const account = dig(all.the("ServiceAccount"), "metadata");
      expect(bindings).toHaveLength(roles.length);
      for (const [index, binding] of bindings.entries()) {
        const subject = { kind: "ServiceAccount", name: dig(account, "name"), namespace: dig(account, "namespace") };
        expect(binding["subjects"]).toEqual([subject]);
        expect(dig(binding, "roleRef", "name")).toBe(dig(roles[index], "metadata", "name"));
        expect(dig(binding, "roleRef", "kind")).toBe(roles[index]?.["kind"]);
      }
    });

    test("no two objects have the same name, and none lacks the labels of the release", () => {
      const ids = rendered(name).objects.map((object) =>
        [object["kind"], dig(object, "metadata", "namespace"), dig(object, "metadata", "name")].join("/"),
      );
      expect(new Set(ids).size).toBe(ids.length);
      for (const object of rendered(name).objects) {
        expect(dig(object, "metadata", "labels", "app.kubernetes.io/instance")).toBe(RELEASE);
      }
    });

    test("helm test asks the admin port by a pod with the gateway's image, without a token", () => {
      const all = rendered(name);
      const pod = all.the("Pod");
      const service = all.all("Service").find((object) => dig(object, "spec", "clusterIP") === "None");
      const asked = `--admin=http://${String(dig(service, "metadata", "name"))}:28889`;
      expect(dig(pod, "spec", "containers", 0, "args")).toEqual(["ready", asked, "--wait=2m"]);
      expect(dig(pod, "spec", "containers", 0, "image")).toBe(dig(all.container, "image"));
      expect(dig(pod, "spec", "automountServiceAccountToken")).toBe(false);
      expect(dig(pod, "metadata", "namespace")).toBe(dig(service, "metadata", "namespace"));
      expect(dig(service, "spec", "selector")).toEqual(dig(all.the("Deployment"), "spec", "selector", "matchLabels"));
      for (const [key, value] of entriesOf(dig(service, "spec", "selector"))) {
        if (key === "app.kubernetes.io/name") expect(dig(pod, "metadata", "labels", key)).not.toBe(value);
      }
    });
  });

  test("a PodMonitor is left out where the cluster has none", async () => {
    const without = await renderObjects(CHART_VALUES.production, { apiVersions: [] });
    expect(without.all("PodMonitor")).toEqual([]);
  });

  test.each([
    [{ gateway: { repliaCount: 3 } }, "repliaCount"],
    [{ networkpolicy: { enabled: true } }, "networkpolicy"],
    [{ gateway: { providerType: "fast-sandbox" } }, "/gateway/providerType"],
    [{ gateway: { gatewayRouteMode: "path" } }, "/gateway/gatewayRouteMode"],
    [{ gateway: { port: 28_889 } }, "/gateway/port"],
    [{ gateway: { dataplaneNamespace: "" } }, "/gateway/dataplaneNamespace"],
    [{ gateway: { dataplaneNamespace: "a --mode=uri" } }, "/gateway/dataplaneNamespace"],
    [{ gateway: { image: { tag: "1.0\n" } } }, "/gateway/image/tag"],
    [{ gateway: { extraArgs: ["explain"] } }, "/gateway/extraArgs/0"],
    [{ gateway: { secureAccess: { keys: [{ key_id: "ab", key: "AAAA" }] } } }, "key_id"],
    [
      { gateway: { secureAccess: { keys: [{ key_id: "a", key: "AAAA" }], existingSecret: "s" } } },
      "set either keys or existingSecret, not both",
    ],
    [{ renew: { enabled: true } }, "renew.existingSecret: needed"],
    [{ autoscaling: { enabled: true, minReplicas: 5, maxReplicas: 4 } }, "minReplicas is above maxReplicas"],
    [{ podDisruptionBudget: { maxUnavailable: 0 } }, "/podDisruptionBudget/maxUnavailable"],
  ])("the values %j are refused with the reason %j", async (values, reason) => {
    const { exitCode, stderr } = await runHelm(["template", RELEASE, CHART], { values });
    expect([exitCode, stderr.includes(reason) || stderr]).toEqual([1, true]);
  });

  test("wake is refused where Kubernetes has no admission policies, and Kubernetes without matchLabelKeys altogether", async () => {
    const run = (kube: string, values: Json) =>
      runHelm(["template", RELEASE, CHART, `--kube-version=${kube}`], { values }).then(({ stderr }) => stderr);
    expect(await run("1.29.9", CHART_VALUES.wake)).toContain("wake.enabled: needs ValidatingAdmissionPolicies");
    expect(await run("1.29.9", {})).toBe("");
    expect(await run("1.26.0", {})).toContain("chart requires kubeVersion");
  });
});
