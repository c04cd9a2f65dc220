import { describe, expect, test } from "bun:test";
import { projectAgentSandbox } from "../../../../src/sandbox/projection/agent-sandbox.ts";
import type { ProjectOptions } from "../../../../src/sandbox/projection/projection.ts";
import { endpointRules } from "../../../../scripts/lib/stage/endpoint-rules.ts";
import { agentSandbox } from "../../../../scripts/lib/stage/sandbox-objects.ts";
import { recordOf, STRICT } from "../../../support/record-of.ts";

describe("projectAgentSandbox", () => {
  const ready = [{ type: "Ready", status: "True", reason: "DependenciesReady" }];
  const project = (status: unknown) => projectAgentSandbox(agentSandbox(status), STRICT);

  test.each([
    [{ serviceFQDN: "sb.ns.svc.cluster.local", podIPs: ["10.0.0.1"] }, "sb.ns.svc.cluster.local"],
    [{ serviceFQDN: "sb.ns.svc" }, "sb.ns.svc"],
    [{ serviceFQDN: "other.ns.svc" }, "other.ns.svc"],
    [{ serviceFQDN: "", podIPs: ["10.0.0.1", "10.0.0.2"] }, "10.0.0.1"],
    [{ podIPs: ["fd00::7"] }, "[fd00::7]"],
  ])("projectAgentSandbox takes %j as %s", (status, endpoint) => {
    const { record, warning } = project({ ...status, conditions: ready });
    expect(record).toMatchObject({ endpoint, ready: true, notReady: "" });
    expect(warning).toBeUndefined();
  });

  test.each([
    ["sb.other.svc.cluster.local"],
    ["sb.ns.pod.cluster.local"],
    ["ns.svc.cluster.local"],
    ["sb.ns"],
    ["a.sb.ns.svc"],
    [".ns.svc"],
    ["sb.ns.svc."],
    ["sb.ns.svc..local"],
    ["sb.ns.svc.cluster.local:80"],
    ["sb.ns.svc/x"],
    ["u@sb.ns.svc"],
    ["SB.ns.svc"],
    ["sb.ns.svc.localhost"],
    ["sb.ns.svc.cluster.local.localhost"],
    ["sb.ns.svc.cluster.localhost"],
    ["sb.ns.svc.169-254-169-254.nip.io"],
    ["sb.ns.svc.k8s.example.org"],
    ["sb.ns.svc.cluster.local."],
    ["sb.ns.svc.cluster"],
    ["sb.ns.svccluster.local"],
    ["-sb.ns.svc"],
    [`${"s".repeat(64)}.ns.svc`],
    ["sb.ns.svc.127"],
    ["sb.ns.svc.0x7f"],
    ["127.0.0.1"],
    ["localhost"],
    [`sb.ns.svc.${"a.".repeat(130)}a`],
    [7],
    [["sb.ns.svc"]],
  ])("projectAgentSandbox refuses the serviceFQDN %j", (serviceFQDN) => {
    const { record, warning } = project({ serviceFQDN, podIPs: ["10.0.0.1"], conditions: ready });
    expect(record).toMatchObject({ endpoint: "", ready: false });
    expect(warning).toContain("status.serviceFQDN");
  });

  test("projectAgentSandbox accepts only the cluster's own domain", () => {
    const options: ProjectOptions = { endpoints: endpointRules({ clusterDomain: "k8s.example.org" }) };
    const look = (serviceFQDN: string) =>
      recordOf(agentSandbox({ serviceFQDN, conditions: ready }), options, projectAgentSandbox).endpoint;
    expect(look("sb.ns.svc.k8s.example.org")).toBe("sb.ns.svc.k8s.example.org");
    expect(look("sb.ns.svc")).toBe("sb.ns.svc");
    expect(look("sb.ns.svc.cluster.local")).toBe("");
    expect(look("sb.other.svc.k8s.example.org")).toBe("");
  });

  test.each([[["127.0.0.1"]], [["169.254.169.254"]], [[{ ip: "10.0.0.1" }]], ["10.0.0.1"], [["10.0.0.1:80"]]])(
    "projectAgentSandbox refuses the podIPs %j",
    (podIPs) => {
      const { record, warning } = project({ podIPs, conditions: ready });
      expect(record).toMatchObject({ endpoint: "", ready: false });
      expect(warning).toBeDefined();
    },
  );

  test.each([
    [undefined, "missing status"],
    [{ conditions: ready }, "has no serviceFQDN"],
    [{ serviceFQDN: "sb.ns.svc" }, "not ready (Pending: no Ready condition yet)"],
    [
      {
        serviceFQDN: "sb.ns.svc",
        conditions: [{ type: "Ready", status: "False", reason: "SandboxExpired", message: "gone" }],
      },
      "not ready (SandboxExpired: gone)",
    ],
    [{ serviceFQDN: "sb.ns.svc", conditions: [{ type: "Ready", status: true }] }, "not ready (NotReady)"],
  ])("projectAgentSandbox says of status %j: %s", (status, reason) => {
    expect(project(status).record).toMatchObject({ ready: false, notReady: `sandbox not ready: sandbox sb ${reason}` });
  });
});

describe("projectAgentSandbox: what a suspended sandbox does", () => {
  const condition = (type: string, status: string) => ({ type, status });
  test.each([
    ["Suspended", [], "asleep"],
    ["Suspended", [condition("Suspended", "False")], "asleep"],
    ["Running", [condition("Suspended", "True")], "waking"],
    ["Running", [condition("Suspended", "False")], undefined],
    ["Running", [condition("Suspended", "True"), condition("Ready", "True")], undefined],
    [undefined, [condition("Suspended", "True")], undefined],
    [{}, [], undefined],
  ] as const)("projectAgentSandbox takes the mode %j with conditions %j as %p", (operatingMode, conditions, sleep) => {
    const object = { ...agentSandbox({ podIPs: ["10.0.0.1"], conditions }), spec: { operatingMode } };
    expect(recordOf(object, STRICT, projectAgentSandbox).sleep).toBe(sleep);
  });
});

describe("projectAgentSandbox: warm pools and claims", () => {
  const of = (metadata: Record<string, unknown>) => projectAgentSandbox(agentSandbox({}, metadata), STRICT);

  test("projectAgentSandbox gives no record and no warning for an unclaimed member of a warm pool", () => {
    const labels = { "agents.x-k8s.io/warm-pool-sandbox": "hash" };
    expect(of({ labels })).toEqual({ record: undefined, warning: undefined });
    expect(of({ labels: { other: "1" } }).record).toBeDefined();
    expect(of({ labels: "odd" }).record).toBeDefined();
  });

  const owner = (change: Record<string, unknown> = {}) => ({
    apiVersion: "extensions.agents.x-k8s.io/v1alpha1",
    kind: "SandboxClaim",
    name: "mine",
    controller: true,
    ...change,
  });
  test.each([
    [[owner()], "mine"],
    [[{ kind: "Other", controller: true }, owner({ apiVersion: "extensions.agents.x-k8s.io/v1beta1" })], "mine"],
    [[owner({ name: "sb" })], undefined],
    [[owner({ controller: false })], undefined],
    [[owner({ kind: "Sandbox" })], undefined],
    [[owner({ apiVersion: "evil.example/v1" })], undefined],
    [[owner({ apiVersion: "extensions.agents.x-k8s.io.evil.example/v1" })], undefined],
    [[owner({ name: "A/../b" })], undefined],
    [[owner({ name: 1 })], undefined],
    [[null, 1, "x"], undefined],
    ["odd", undefined],
    [undefined, undefined],
  ])("projectAgentSandbox reads the claim in %j as %p", (ownerReferences, claim) => {
    expect(of({ ownerReferences }).record?.claim).toBe(claim);
  });
});
