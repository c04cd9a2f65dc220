import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { eventually } from "../../scripts/lib/eventually.ts";
import { runToEnd, startIngressProcess, type IngressProcess } from "../../scripts/lib/ingress-process.ts";
import type { Json } from "../../scripts/lib/kube/kube-api-server.ts";
import {
  AGENT_SANDBOX,
  BATCH_SANDBOX,
  createNamespace,
  createObject,
  installCrd,
  type KubeKind,
} from "../../scripts/lib/kube/kube-resources.ts";
import { buildBinary } from "../support/binary.ts";
import { CHART_VALUES, CHART_VALUES_NAMES } from "../support/chart-values.ts";
import { CHART, hasHelm, helm, RELEASE, runHelm } from "../support/helm.ts";
import { hasKubeApiServer, useKubeApiServer } from "../support/kube-fixture.ts";
import { checkStrictly, findObject, mergeInto, type ObjectReference } from "../support/kube-objects.ts";
import { requestToken } from "../support/kube-rbac.ts";
import { dig } from "../support/kustomize.ts";
import { listOf, renderObjects } from "../support/rendered-chart.ts";

setDefaultTimeout(120_000);

const NAMESPACES = ["opensandbox-system", "opensandbox", "team-a", "team-b", "waking", "agents", "tested"];
const POD_MONITOR: KubeKind = {
  group: "monitoring.coreos.com",
  version: "v1",
  plural: "podmonitors",
  kind: "PodMonitor",
};

describe.skipIf(!hasHelm() || !hasKubeApiServer())("deploy/chart on a real API server", () => {
  const api = useKubeApiServer();
  let binary = "";
  let kubeconfig = "";
  beforeAll(async () => {
    binary = await buildBinary();
    kubeconfig = api().writeKubeconfig("helm");
    await installCrd(api(), BATCH_SANDBOX);
    await installCrd(api(), AGENT_SANDBOX);
    for (const namespace of NAMESPACES) await createNamespace(api(), namespace);
    const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
    await api().request("POST", "/api/v1/namespaces", { metadata: { name: "restricted", labels } });
  }, 120_000);
  const find = (reference: ObjectReference) => findObject(api(), reference);

  test.each(CHART_VALUES_NAMES)(
    "%s: the API server knows every field, and admits the pods as restricted",
    async (name) => {
      const all = await renderObjects(CHART_VALUES[name], { apiVersions: [], hooks: true });
      for (const object of all.objects) await checkStrictly(api(), object);
      const test = dig(all.the("Pod"), "spec");
      for (const [podName, spec] of [
        ["gateway", all.pod],
        ["test", test],
      ] as const) {
        const metadata = { name: podName, namespace: "restricted" };
        await checkStrictly(api(), { apiVersion: "v1", kind: "Pod", metadata, spec: spec });
      }
      const plain = { containers: [{ name: "main", image: "x" }] };
      const metadata = { name: "plain", namespace: "restricted" };
      const refused = checkStrictly(api(), { apiVersion: "v1", kind: "Pod", metadata, spec: plain });
      expect(await refused.catch(String)).toContain("violates PodSecurity");
    },
  );

  test("a PodMonitor is not there without its kind, which the notes say, and comes with the next upgrade", async () => {
    const upgrade = () =>
      helm(["upgrade", "--install", RELEASE, CHART, "--namespace=opensandbox"], {
        kubeconfig,
        values: CHART_VALUES.production,
      });
    expect(await upgrade()).toContain("WARNING: podMonitor.enabled is true, but this cluster serves no PodMonitors");
    await installCrd(api(), POD_MONITOR);
    expect(await upgrade()).not.toContain("WARNING");
    const name = {
      apiVersion: "monitoring.coreos.com/v1",
      kind: "PodMonitor",
      name: RELEASE,
      namespace: "opensandbox",
    };
    expect(await find(name)).toBeDefined();
    await helm(["uninstall", RELEASE, "--namespace=opensandbox"], { kubeconfig });
    expect(await find(name)).toBeUndefined();
    expect(await find({ ...name, apiVersion: "apps/v1", kind: "Deployment" })).toBeUndefined();
  });

  /** Runs the binary as an installed Deployment would: with its arguments and a token of its account. */
  async function runInstalled(namespace: string, name: string): Promise<IngressProcess> {
    const deployment = await find({ apiVersion: "apps/v1", kind: "Deployment", name, namespace });
    const args = listOf(dig(deployment, "spec", "template", "spec", "containers", 0, "args")).map(String);
    const token = await requestToken(api(), namespace, name);
    const own = api().writeKubeconfig(`${namespace}-${name}`, { user: { token } });
    const flags = args.filter((arg) => !arg.startsWith("--port="));
    return startIngressProcess(binary, [...flags, `--kubeconfig=${own}`]);
  }

  test.each([
    ["one namespace", "batchsandbox", BATCH_SANDBOX, ["opensandbox"], ["--set=gateway.dataplaneNamespace=opensandbox"]],
    [
      "several namespaces",
      "batchsandbox",
      BATCH_SANDBOX,
      ["team-a", "team-b"],
      ["--set=gateway.dataplaneNamespace=team-a\\,team-b"],
    ],
    ["all namespaces", "agent-sandbox", AGENT_SANDBOX, ["agents", "team-a"], ["--set=gateway.allNamespaces=true"]],
  ] as const)(
    "the account may read the sandboxes of %s, and the program sees them",
    async (_, provider, kind, places, sets) => {
      const flags = [`--set=gateway.providerType=${provider}`, "--namespace=opensandbox-system", ...sets];
      await helm(["upgrade", "--install", RELEASE, CHART, ...flags], { kubeconfig });
      await using ingress = await runInstalled("opensandbox-system", RELEASE);
      await eventually(async () => (await run("ready", `--admin=${ingress.adminOrigin}`)).exitCode === 0);
      for (const namespace of places) {
        // Comes by the watch.
        const name = `seen-in-${namespace}-${provider}`;
        await createObject(api(), kind, { namespace, name });
        await eventually(async () => (await run("sandboxes", `--admin=${ingress.adminOrigin}`)).stdout.includes(name));
      }
      expect(ingress.readOutput()).not.toContain("cannot ");
    },
  );

  const run = (...args: readonly string[]) => runToEnd([binary, ...args]);

  /** Runs `helm test` and plays the kubelet for its pod, with an ingress at `adminOrigin`. */
  async function runHelmTest(adminOrigin: string) {
    const pod = { apiVersion: "v1", kind: "Pod", name: `${RELEASE}-test`, namespace: "tested" };
    const before = dig(await find(pod), "metadata", "uid");
    const ended = runHelm(["test", RELEASE, "--namespace=tested", "--timeout=100s"], { kubeconfig });
    const started = await eventually(async () => {
      const found = await find(pod);
      return found !== undefined && dig(found, "metadata", "uid") !== before && found;
    });
    const policy = { ...pod, apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy" };
    const service = { ...pod, kind: "Service" };
    expect([await find(service), await find(policy)].every((object) => object !== undefined)).toBe(true);
    const args = listOf(dig(started, "spec", "containers", 0, "args")).map(String);
    const asked = args.map((arg) =>
      arg.replace(`http://${RELEASE}-test:28889`, adminOrigin).replace("--wait=2m", "--wait=0"),
    );
    expect(asked).not.toEqual(args);
    const { exitCode } = await run(...asked);
    const phase = exitCode === 0 ? "Succeeded" : "Failed";
    await mergeInto(api(), pod, { status: { phase } }, { subresource: "status" });
    const result = await ended;
    const isLeft = [await find(service), await find(policy), await find(pod)].map((object) => object !== undefined);
    return { exitCode: result.exitCode, output: result.stdout, isLeft };
  }

  test("helm test passes with a ready ingress, fails with one that is not, and opens the admin port only meanwhile", async () => {
    const sets = ["namespaceOverride=tested", "gateway.dataplaneNamespace=tested", "networkPolicy.enabled=true"];
    const flags = ["--namespace=tested", ...sets.map((set) => `--set=${set}`)];
    await helm(["install", RELEASE, CHART, ...flags], { kubeconfig });
    {
      await using ingress = await runInstalled("tested", RELEASE);
      await eventually(async () => (await run("ready", `--admin=${ingress.adminOrigin}`)).exitCode === 0);
      const passed = await runHelmTest(ingress.adminOrigin);
      expect(passed).toMatchObject({ exitCode: 0, isLeft: [false, false, false] });
      expect(passed.output).toContain("Phase:          Succeeded");
    }
    // The pod stays for its log.
    const failed = await runHelmTest("http://127.0.0.1:1");
    expect(failed).toMatchObject({ exitCode: 1, isLeft: [false, false, true] });
    expect(await runHelmTest("http://127.0.0.1:1")).toMatchObject({ exitCode: 1, isLeft: [false, false, true] });
  });

  test("wake lets exactly this account make a sandbox run, and change nothing else", async () => {
    await helm(["install", "wake", CHART, "--namespace=waking"], { kubeconfig, values: CHART_VALUES.wake });
    const token = await requestToken(api(), "waking", RELEASE);
    await createObject(api(), BATCH_SANDBOX, { namespace: "waking", name: "sb", annotations: { kept: "1" } });
    const apiVersion = `${BATCH_SANDBOX.group}/${BATCH_SANDBOX.version}`;
    const sandbox: ObjectReference = { apiVersion, kind: BATCH_SANDBOX.kind, name: "sb", namespace: "waking" };
    const change = (patch: Json, options: { token?: string; subresource?: string } = {}) =>
      mergeInto(api(), sandbox, patch, options);
    const paused = { pause: true, image: "theirs" };
    // A policy counts a moment after it is created.
    await eventually(async () => {
      await change({ spec: paused });
      const said = await change({ spec: { pause: false, image: "ours" } }, { token }).catch(String);
      return typeof said === "string" && said.includes("the ingress may change nothing of a spec");
    });
    for (const patch of [
      { spec: { image: "ours" } },
      { spec: { pause: false, image: null } },
      { spec: { pause: false, command: ["sh"] } },
      { spec: { pause: true } },
      { spec: null },
      { spec: { pause: false }, metadata: { annotations: { "opensandbox.io/secure-access-token": "x" } } },
      { spec: { pause: false }, metadata: { labels: { a: "b" } } },
      { spec: { pause: false }, metadata: { finalizers: ["a.test/b"] } },
    ]) {
      expect(await change(patch, { token }).catch(String)).toContain("the ingress may");
    }
    expect(await change({ status: { ready: 1 } }, { token, subresource: "status" }).catch(String)).toContain(": 403 ");
    expect(await find(sandbox)).toMatchObject({ spec: paused, metadata: { annotations: { kept: "1" } } });
    await change({ spec: { pause: false } }, { token });
    expect(await find(sandbox)).toMatchObject({ spec: { pause: false, image: "theirs" } });
    // Others are not its business.
    await change({ spec: { image: "new" } });
  });
});
