import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "../../scripts/lib/eventually.ts";
import { hasKubeApiServer, useKubeApiServer } from "../support/kube-fixture.ts";
import { startProviderBench } from "../../scripts/lib/kube/kube-provider-bench.ts";
import { changeGrant, grantToNewAccount, requestToken } from "../support/kube-rbac.ts";
import {
  AGENT_SANDBOX,
  BATCH_SANDBOX,
  changeCrdVersions,
  createNamespace,
  createObject,
  deleteCrd,
  deleteObject,
  installCrd,
  patchObject,
  patchStatus,
  readyAt,
} from "../../scripts/lib/kube/kube-resources.ts";
import { openTcpGate } from "../../scripts/lib/stage/tcp-gate.ts";
import { tempDir } from "../support/temp-dir.ts";

// An API server that is killed in a test takes seconds to come back.
setDefaultTimeout(60_000);

describe.skipIf(!hasKubeApiServer())("createKubernetesProvider on a real API server", () => {
  const api = useKubeApiServer();
  let kubeconfig = "";
  let namespaces = 0;
  /** A namespace of its own for each test. */
  async function freshNamespace(): Promise<string> {
    const name = `test-${++namespaces}`;
    await createNamespace(api(), name);
    return name;
  }
  beforeAll(async () => {
    kubeconfig = api().writeKubeconfig("admin");
    await installCrd(api(), BATCH_SANDBOX);
  });

  test("follows creation, change and deletion", async () => {
    const namespace = await freshNamespace();
    await createObject(api(), BATCH_SANDBOX, { namespace, name: "early", ...readyAt("10.0.0.1") });
    await using bench = await startProviderBench({ server: api(), kubeconfig, namespaces: [namespace] });
    await bench.synced();
    expect(bench.look("early")).toBe("10.0.0.1");

    await createObject(api(), BATCH_SANDBOX, { namespace, name: "late", ...readyAt("10.0.0.2") });
    await eventually(() => bench.look("late") === "10.0.0.2");
    await patchObject(api(), BATCH_SANDBOX, { namespace, name: "late", ...readyAt("10.0.0.3") });
    await eventually(() => bench.look("late") === "10.0.0.3");
    expect(bench.ended.map(({ name, endpoint }) => [name, endpoint])).toContainEqual(["late", "10.0.0.2"]);
    await patchStatus(api(), BATCH_SANDBOX, { namespace, name: "late", status: { ready: 0, phase: "Paused" } });
    await eventually(() => bench.look("late") === "not ready");
    await deleteObject(api(), BATCH_SANDBOX, { namespace, name: "late" });
    await eventually(() => bench.look("late") === "not found");
    await bench.settle();
  });

  test("treats a sandbox that was deleted and created again as a new one", async () => {
    const namespace = await freshNamespace();
    await createObject(api(), BATCH_SANDBOX, { namespace, name: "a", ...readyAt("10.0.0.1") });
    await using bench = await startProviderBench({ server: api(), kubeconfig, namespaces: [namespace] });
    await bench.synced();
    await deleteObject(api(), BATCH_SANDBOX, { namespace, name: "a" });
    await createObject(api(), BATCH_SANDBOX, { namespace, name: "a", ...readyAt("10.0.0.1") });
    await eventually(() => bench.ended.length > 0 && bench.look("a") === "10.0.0.1");
    await bench.settle();
  });

  test("names a bad object once, and the others are not harmed", async () => {
    const namespace = await freshNamespace();
    await createObject(api(), BATCH_SANDBOX, { namespace, name: "good", ...readyAt("10.0.0.1") });
    await createObject(api(), BATCH_SANDBOX, { namespace, name: "bad", ...readyAt("169.254.169.254") });
    await using bench = await startProviderBench({ server: api(), kubeconfig, namespaces: [namespace] });
    await bench.synced();
    await patchStatus(api(), BATCH_SANDBOX, { namespace, name: "bad", status: { replicas: 2 } });
    await createObject(api(), BATCH_SANDBOX, { namespace, name: "loop", ...readyAt("127.0.0.1") });
    await eventually(() => bench.look("loop") === "not ready");
    expect(bench.look("good")).toBe("10.0.0.1");
    expect(bench.look("bad")).toBe("not ready");
    expect(bench.logger.find("warn", new RegExp(`batchsandboxes ${namespace}/bad: .*link-local`))).toHaveLength(1);
    expect(bench.logger.find("warn", new RegExp(`batchsandboxes ${namespace}/loop: .*loopback`))).toHaveLength(1);
  });

  test("admits loopback endpoints when allowed", async () => {
    const namespace = await freshNamespace();
    await createObject(api(), BATCH_SANDBOX, { namespace, name: "loop", ...readyAt("127.0.0.1") });
    const allowed = { allowLoopbackEndpoints: true };
    await using bench = await startProviderBench({ server: api(), kubeconfig, namespaces: [namespace], ...allowed });
    await bench.synced();
    expect(bench.look("loop")).toBe("127.0.0.1");
  });

  test("finds a name that two namespaces have ambiguous, until one of them goes", async () => {
    const [one, two, other] = [await freshNamespace(), await freshNamespace(), await freshNamespace()];
    for (const namespace of [one, two, other]) {
      await createObject(api(), BATCH_SANDBOX, { namespace, name: "twin", ...readyAt("10.0.0.1") });
    }
    await using bench = await startProviderBench({ server: api(), kubeconfig, namespaces: [one, two] });
    await bench.synced();
    expect(bench.look("twin")).toBe("ambiguous");
    await deleteObject(api(), BATCH_SANDBOX, { namespace: one, name: "twin" });
    await eventually(() => bench.look("twin") === "10.0.0.1");
    const resolution = bench.provider.resolve("twin");
    expect(resolution.state === "found" && resolution.record.namespace).toBe(two);
  });

  test("watches all namespaces at once, also those that come later", async () => {
    const first = await freshNamespace();
    await createObject(api(), BATCH_SANDBOX, { namespace: first, name: "all-1", ...readyAt("10.0.0.1") });
    const all = { namespaces: [], allNamespaces: true };
    await using bench = await startProviderBench({ server: api(), kubeconfig, ...all });
    await bench.synced();
    expect(bench.look("all-1")).toBe("10.0.0.1");
    const second = await freshNamespace();
    await createObject(api(), BATCH_SANDBOX, { namespace: second, name: "all-2", ...readyAt("10.0.0.2") });
    await eventually(() => bench.look("all-2") === "10.0.0.2");
  });

  test("continues from its position when the server ends the watch in time, without a list", async () => {
    const namespace = await freshNamespace();
    const limits = { watchTimeoutSeconds: [1, 1], watchMinMs: 100 } as const;
    await using gate = await openTcpGate(api().port);
    const throughGate = api().writeKubeconfig("ends", { server: `https://127.0.0.1:${gate.port}` });
    const options = { server: api(), kubeconfig: throughGate, namespaces: [namespace], limits };
    await using bench = await startProviderBench(options);
    await bench.synced();
    for (let i = 0; i < 30; i++) {
      await createObject(api(), BATCH_SANDBOX, { namespace, name: `sb-${i}`, ...readyAt(`10.0.1.${i}`) });
      await Bun.sleep(80); // so that several watches end in between
    }
    await bench.settle();
    expect(bench.logger.find("info", /listed/)).toHaveLength(1);
    expect(bench.logger.find("error", /./)).toEqual([]);
  });

  test("is right again after the API server was killed and restarted, and serves meanwhile", async () => {
    const namespace = await freshNamespace();
    await createObject(api(), BATCH_SANDBOX, { namespace, name: "a", ...readyAt("10.0.0.1") });
    await using bench = await startProviderBench({ server: api(), kubeconfig, namespaces: [namespace] });
    await bench.synced();
    await api().kill();
    await eventually(() => bench.provider.status().fault !== undefined);
    expect(bench.look("a")).toBe("10.0.0.1");
    expect(bench.provider.status()).toMatchObject({ synced: true });
    await api().restart();
    await eventually(() => patchObject(api(), BATCH_SANDBOX, { namespace, name: "a", ...readyAt("10.0.0.2") }));
    await eventually(() => bench.look("a") === "10.0.0.2");
    await bench.settle();
    await eventually(() => bench.provider.status().fault === undefined);
  });

  test("lists again when history was compacted while the watch was cut", async () => {
    const namespace = await freshNamespace();
    await using gate = await openTcpGate(api().port);
    const throughGate = api().writeKubeconfig("compacted", { server: `https://127.0.0.1:${gate.port}` });
    await using bench = await startProviderBench({ server: api(), kubeconfig: throughGate, namespaces: [namespace] });
    await bench.synced();
    for (const name of ["gone", "changed", "same"]) {
      await createObject(api(), BATCH_SANDBOX, { namespace, name, ...readyAt("10.0.0.1") });
    }
    await bench.settle();
    await gate.close();
    await deleteObject(api(), BATCH_SANDBOX, { namespace, name: "gone" });
    await patchObject(api(), BATCH_SANDBOX, { namespace, name: "changed", ...readyAt("10.0.0.2") });
    await createObject(api(), BATCH_SANDBOX, { namespace, name: "new", ...readyAt("10.0.0.3") });
    await api().compact();
    // Its watch cache, which would still know, goes with it.
    await api().kill();
    await api().restart();
    await gate.open();
    await eventually(() => bench.look("gone") === "not found");
    await bench.settle();
    expect(bench.logger.find("warn", /listing batchsandboxes.* again: 410/)).toHaveLength(1);
  });

  test("replaces a connection that has gone silent", async () => {
    const namespace = await freshNamespace();
    await using gate = await openTcpGate(api().port);
    const throughGate = api().writeKubeconfig("silent", { server: `https://127.0.0.1:${gate.port}` });
    const limits = { silenceMaxMs: 1000, headMaxMs: 1000 };
    const options = { server: api(), kubeconfig: throughGate, namespaces: [namespace], limits };
    await using bench = await startProviderBench(options);
    await bench.synced();
    gate.freeze();
    await createObject(api(), BATCH_SANDBOX, { namespace, name: "a", ...readyAt("10.0.0.1") });
    await eventually(() => bench.logger.find("warn", /no byte for 1 s/).length > 0);
    gate.thaw();
    await eventually(() => bench.look("a") === "10.0.0.1");
    await bench.settle();
  });

  test("works with get, list and watch on one resource in one namespace, and reports the one that is missing", async () => {
    const namespace = await freshNamespace();
    const grant = { namespace, serviceAccount: "ingress" };
    await grantToNewAccount(api(), BATCH_SANDBOX, { ...grant, verbs: ["get", "list", "watch"] });
    await createObject(api(), BATCH_SANDBOX, { namespace, name: "a", ...readyAt("10.0.0.1") });
    const token = await requestToken(api(), namespace, "ingress");
    const asAccount = api().writeKubeconfig("rbac", { user: { token } });
    {
      await using bench = await startProviderBench({ server: api(), kubeconfig: asAccount, namespaces: [namespace] });
      await bench.synced();
      expect(bench.look("a")).toBe("10.0.0.1");
      expect(bench.logger.find("error", /./)).toEqual([]);
    }
    // Without `watch` the list does; without `list` the stream would do, which not all API servers serve.
    for (const [missing, verbs] of [
      ["watch", ["get", "list"]],
      ["list", ["get"]],
    ] as const) {
      await changeGrant(api(), BATCH_SANDBOX, { ...grant, verbs });
      await using bench = await startProviderBench({ server: api(), kubeconfig: asAccount, namespaces: [namespace] });
      await eventually(() => bench.provider.status().fault !== undefined);
      const [line] = bench.logger.find("error", /./);
      expect(line).toContain(`cannot ${missing} batchsandboxes.sandbox.opensandbox.io in namespace "${namespace}"`);
      expect(line).toContain(
        "grant get, list and watch on batchsandboxes (API group sandbox.opensandbox.io) by a Role",
      );
      expect(line).toContain(`system:serviceaccount:${namespace}:ingress`);
      expect(bench.provider.status().synced).toBe(false);
      await changeGrant(api(), BATCH_SANDBOX, { ...grant, verbs: ["get", "list", "watch"] });
      await bench.synced();
    }
  });

  test("uses a rotated token, and reports an expired one", async () => {
    const namespace = await freshNamespace();
    await grantToNewAccount(api(), BATCH_SANDBOX, { namespace, serviceAccount: "ingress", verbs: ["list", "watch"] });
    using dir = tempDir();
    const tokenFile = join(dir.path, "token");
    writeFileSync(tokenFile, `${await requestToken(api(), namespace, "ingress")}\n`);
    await using gate = await openTcpGate(api().port);
    const server = `https://127.0.0.1:${gate.port}`;
    const asAccount = api().writeKubeconfig("rotated", { server, user: { tokenFile } });
    await using bench = await startProviderBench({ server: api(), kubeconfig: asAccount, namespaces: [namespace] });
    await bench.synced();
    writeFileSync(tokenFile, "expired");
    gate.cut();
    await eventually(
      () => bench.logger.find("error", /does not accept the credentials \(401 Unauthorized\)/).length > 0,
    );
    writeFileSync(tokenFile, await requestToken(api(), namespace, "ingress"));
    await createObject(api(), BATCH_SANDBOX, { namespace, name: "a", ...readyAt("10.0.0.1") });
    await eventually(() => bench.look("a") === "10.0.0.1");
  });

  test("finds AgentSandboxes in the version that is served, and again when that one goes", async () => {
    const namespace = await freshNamespace();
    const providerType = "agent-sandbox";
    await using bench = await startProviderBench({ server: api(), kubeconfig, namespaces: [namespace], providerType });
    await eventually(() => bench.provider.status().fault !== undefined);
    expect(bench.provider.status().fault).toContain("install the CustomResourceDefinition sandboxes.agents.x-k8s.io");

    const v1alpha1 = { ...AGENT_SANDBOX, version: "v1alpha1" };
    await installCrd(api(), v1alpha1);
    await bench.synced();
    const ready = { conditions: [{ type: "Ready", status: "True" }], podIPs: ["10.0.0.1"] };
    await createObject(api(), v1alpha1, { namespace, name: "a", status: ready });
    await eventually(() => bench.look("a") === "10.0.0.1");
    expect(bench.logger.find("info", /listed 0 sandboxes.agents.x-k8s.io.*\(v1alpha1\)/)).toHaveLength(1);

    const crd = { group: AGENT_SANDBOX.group, plural: AGENT_SANDBOX.plural };
    const schema = "/spec/versions/0";
    await changeCrdVersions(api(), { ...AGENT_SANDBOX, ...crd }, [
      { op: "copy", from: schema, path: "/spec/versions/1" },
      { op: "replace", path: "/spec/versions/1/name", value: "v1beta1" },
      { op: "replace", path: "/spec/versions/1/storage", value: false },
      { op: "replace", path: `${schema}/served`, value: false },
    ]);
    await eventually(() => bench.logger.find("info", /listed 1 sandboxes.agents.x-k8s.io.*\(v1beta1\)/).length > 0);
    await createObject(api(), AGENT_SANDBOX, {
      namespace,
      name: "b",
      status: { ...ready, serviceFQDN: `b.${namespace}.svc.cluster.local` },
    });
    await eventually(() => bench.look("b") === `b.${namespace}.svc.cluster.local`);
    await bench.settle();
  });

  test("prefers v1beta1 of AgentSandbox if both versions are served", async () => {
    const namespace = await freshNamespace();
    await changeCrdVersions(api(), AGENT_SANDBOX, [{ op: "replace", path: "/spec/versions/0/served", value: true }]);
    await eventually(() => api().request("GET", `/apis/agents.x-k8s.io/v1alpha1/namespaces/${namespace}/sandboxes`));
    const providerType = "agent-sandbox";
    await using bench = await startProviderBench({ server: api(), kubeconfig, namespaces: [namespace], providerType });
    await bench.synced();
    expect(bench.logger.find("info", /\(v1beta1\)/)).toHaveLength(1);
  });

  test("waits for a CustomResourceDefinition that is installed later, and survives its deletion", async () => {
    const namespace = await freshNamespace();
    await using early = await startProviderBench({ server: api(), kubeconfig, namespaces: [namespace] });
    await early.synced();
    await createObject(api(), BATCH_SANDBOX, { namespace, name: "a", ...readyAt("10.0.0.1") });
    await early.settle();
    await deleteCrd(api(), BATCH_SANDBOX);
    await eventually(() => early.provider.status().fault?.includes("install the CustomResourceDefinition") === true);

    await using late = await startProviderBench({ server: api(), kubeconfig, namespaces: [namespace] });
    await eventually(() => late.provider.status().fault !== undefined);
    expect(late.provider.status().synced).toBe(false);
    expect(late.logger.find("error", /./)[0]).toContain(
      "install the CustomResourceDefinition batchsandboxes.sandbox.opensandbox.io with version v1alpha1",
    );
    expect(await late.provider.whenSynced(1)).toBe(false);

    await installCrd(api(), BATCH_SANDBOX);
    await late.synced();
    await createObject(api(), BATCH_SANDBOX, { namespace, name: "b", ...readyAt("10.0.0.1") });
    for (const bench of [early, late]) {
      await bench.settle();
      expect([bench.look("a"), bench.look("b")]).toEqual(["not found", "10.0.0.1"]);
    }
  });
});
