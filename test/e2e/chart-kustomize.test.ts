import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { cpSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HELM_BUILD_MAX_MS } from "../../scripts/lib/kube/helm-binary.ts";
import type { Json } from "../../scripts/lib/kube/kube-api-server.ts";
import { parseConfig } from "../../src/config/parse-config.ts";
import { hasHelm, POD_MONITOR_VERSION, renderChart } from "../support/helm.ts";
import { hasKubeApiServer } from "../support/kube-fixture.ts";
import { dig, renderKustomization } from "../support/kustomize.ts";
import { entriesOf, listOf } from "../support/rendered-chart.ts";
import { tempDir } from "../support/temp-dir.ts";

// The first test may build Helm.
setDefaultTimeout(HELM_BUILD_MAX_MS);

const DEPLOY = join(import.meta.dir, "../../deploy");
/** Labels that only a release of Helm has. `instance` is the difference of the selectors. */
const RELEASE_LABELS = [
  "helm.sh/chart",
  "app.kubernetes.io/instance",
  "app.kubernetes.io/managed-by",
  "app.kubernetes.io/version",
  "app.kubernetes.io/component",
];
/** Defaults of the Kubernetes API that the chart spells out, and the manifests do not. */
const API_DEFAULTS: Readonly<Record<string, unknown>> = { type: "ClusterIP", imagePullPolicy: "IfNotPresent" };

/** A copy without labels of a release and defaults of the API, and with lists of named things in the order of their names. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) {
    const items = value.map(plain);
    const isNamed = items.length > 0 && items.every((item) => typeof dig(item, "name") === "string");
    return isNamed ? items.toSorted((a, b) => String(dig(a, "name")).localeCompare(String(dig(b, "name")))) : items;
  }
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value).filter(
    ([key, inner]) => !RELEASE_LABELS.includes(key) && API_DEFAULTS[key] !== inner,
  );
  return Object.fromEntries(kept.map(([key, inner]) => [key, plain(inner)]));
}

/** By kind, what is the same of manifests and chart; the arguments of the container as what the program makes of them. */
function comparable(objects: Iterable<Json>): { readonly objects: unknown; readonly settings: Json } {
  const byKind = new Map<string, unknown>();
  let settings: Json | undefined;
  for (const object of objects) {
    const kind = String(object["kind"]);
    if (kind === "Deployment") settings = readSettings(object);
    byKind.set(kind, plain(withoutArgs(object)));
  }
  if (settings === undefined) throw new Error("there is no Deployment");
  return { objects: Object.fromEntries([...byKind].toSorted(([a], [b]) => a.localeCompare(b))), settings };
}

/** What the program makes of the arguments. A set of addresses is a function; its argument is compared by its text. */
function readSettings(deployment: Json): Json {
  const container = dig(deployment, "spec", "template", "spec", "containers", 0);
  const namespace = String(dig(deployment, "metadata", "namespace"));
  const args = listOf(dig(container, "args")).map((arg) => String(arg).replace("$(POD_NAMESPACE)", namespace));
  const parsed = parseConfig(args, {});
  if (parsed.kind !== "run") throw new Error(`the program refuses: ${args.join(" ")}`);
  const trusted = args.findLast((arg) => arg.startsWith("--trusted-proxies="));
  const settings: unknown = JSON.parse(JSON.stringify(parsed.config));
  return Object.fromEntries([...entriesOf(settings), ["trusted", trusted]]);
}

function withoutArgs(object: Json): unknown {
  return JSON.parse(JSON.stringify(object), (key, value: unknown) => (key === "args" ? undefined : value));
}

async function renderOverlay(resource: string, components: readonly string[]): Promise<ReadonlyMap<string, Json>> {
  // A copy: Kustomize takes no absolute paths, and follows links.
  using dir = tempDir();
  cpSync(DEPLOY, join(dir.path, "deploy"), { recursive: true });
  const folder = join(dir.path, "overlay");
  mkdirSync(folder);
  const overlay = {
    ...(resource === "base" && { namespace: "opensandbox" }),
    labels: [{ pairs: { "app.kubernetes.io/part-of": "opensandbox" } }],
    resources: [`../deploy/${resource}`],
    components: components.map((name) => `../deploy/components/${name}`),
  };
  writeFileSync(join(folder, "kustomization.yaml"), JSON.stringify(overlay));
  return await renderKustomization(folder);
}

/** For each component, the values that mean the same. */
const COMPONENT_VALUES: Readonly<Record<string, Json>> = {
  "agent-sandbox": { gateway: { providerType: "agent-sandbox" } },
  autoscaling: { autoscaling: { enabled: true } },
  "network-policy": { networkPolicy: { enabled: true } },
  renew: { renew: { enabled: true, existingSecret: "opensandbox-ingress-renew" } },
  "secure-access": { gateway: { secureAccess: { existingSecret: "opensandbox-ingress-access-keys" } } },
  tls: { gateway: { tls: { existingSecret: "opensandbox-ingress-tls" } } },
  wake: { wake: { enabled: true } },
};

const chartObjects = (values: Json, apiVersions: readonly string[] = []) =>
  renderChart({ values: inBaseNamespace(values), apiVersions });

describe.skipIf(!hasHelm() || !hasKubeApiServer())("deploy/chart and the manifests for Kustomize", () => {
  test("deploy/base is equal but for the selector", async () => {
    const manifests = comparable((await renderOverlay("base", [])).values());
    expect(comparable(await chartObjects({}))).toEqual(manifests);
  });

  test.each(readdirSync(join(DEPLOY, "components")))(
    "deploy/components/%s makes the same of deploy/base as its values of the chart",
    async (component) => {
      const values = COMPONENT_VALUES[component];
      if (values === undefined) throw new Error("the chart has no value for it");
      const manifests = comparable((await renderOverlay("base", [component])).values());
      // The policy of wake has a folder of its own.
      const chart = (await chartObjects(values)).filter(({ kind }) => !String(kind).startsWith("ValidatingAdmission"));
      expect(comparable(chart)).toEqual(manifests);
    },
  );

  test("deploy/wake-policy is equal but for its name and for whose changes it judges", async () => {
    const manifests = await renderKustomization("deploy/wake-policy");
    const chart = await chartObjects({ wake: { enabled: true } });
    for (const [kind, object] of manifests) {
      const ours = chart.find((other) => other["kind"] === kind);
      expect(judging(ours)).toEqual(judging(object));
    }
    expect([...manifests.keys()].toSorted()).toEqual(["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]);
  });

  test("deploy/monitoring/pod-monitor.yaml is equal but for the selector", async () => {
    const manifest: unknown = Bun.YAML.parse(await Bun.file(join(DEPLOY, "monitoring/pod-monitor.yaml")).text());
    const chart = await chartObjects({ podMonitor: { enabled: true } }, [POD_MONITOR_VERSION]);
    const monitor = chart.find(({ kind }) => kind === "PodMonitor");
    expect(plain(dig(monitor, "spec"))).toEqual(plain(dig(manifest, "spec")));
    expect(dig(monitor, "metadata", "name")).toBe(dig(manifest, "metadata", "name"));
  });

  test("deploy/overlays/all-namespaces is equal but for the selector and the name of the role", async () => {
    const manifests = comparable((await renderOverlay("overlays/all-namespaces", [])).values());
    const values = { gateway: { allNamespaces: true, trustedProxies: "none" } };
    const chart = comparable(await renderChart({ values }));
    const renamed: unknown = JSON.parse(JSON.stringify(chart.objects).replaceAll("-reader-full", ""));
    expect(renamed).toEqual(manifests.objects);
    // With --all-namespaces the manifests' --namespace has no effect.
    expect({ ...chart.settings, namespaces: [] }).toEqual({ ...manifests.settings, namespaces: [] });
  });

  test("the selectors differ by the name of the release alone", async () => {
    const manifests = (await renderOverlay("base", [])).get("Deployment");
    const chart = (await chartObjects({})).find(({ kind }) => kind === "Deployment");
    expect(dig(chart, "spec", "selector", "matchLabels")).toEqual({
      ...Object(dig(manifests, "spec", "selector", "matchLabels")),
      "app.kubernetes.io/instance": "opensandbox-ingress-gateway",
    });
  });
});

/** Values with what deploy/base does otherwise than the chart: where it runs, and that it trusts no peer. */
function inBaseNamespace(values: Json): Json {
  const gateway = Object.fromEntries([...entriesOf(values["gateway"]), ["trustedProxies", "none"]]);
  return { namespaceOverride: "opensandbox", ...values, gateway };
}

/** What a policy or its binding does, without names and without whose changes it judges. */
function judging(object: Json | undefined): unknown {
  const spec = plain(dig(object, "spec"));
  return Object.fromEntries(entriesOf(spec).filter(([key]) => key !== "matchConditions" && key !== "policyName"));
}
