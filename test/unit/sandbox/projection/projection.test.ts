import { describe, expect, test } from "bun:test";
import { projectAgentSandbox } from "../../../../src/sandbox/projection/agent-sandbox.ts";
import { projectBatchSandbox } from "../../../../src/sandbox/projection/batch-sandbox.ts";
import type { ProjectOptions } from "../../../../src/sandbox/projection/projection.ts";
import { endpointFor, type SandboxRecord } from "../../../../src/sandbox/provider.ts";
import { endpointRules } from "../../../../scripts/lib/stage/endpoint-rules.ts";
import { agentSandbox, batchSandbox } from "../../../../scripts/lib/stage/sandbox-objects.ts";
import { createRandom, type Random } from "../../../../scripts/lib/stage/random.ts";

const strict: ProjectOptions = { endpoints: endpointRules() };

function recordOf(object: unknown, options = strict, project = projectBatchSandbox): SandboxRecord {
  const { record } = project(object, options);
  if (record === undefined) throw new Error("no record");
  return record;
}

describe("projectBatchSandbox: endpoints", () => {
  test.each([
    ['["10.244.1.5"]', "10.244.1.5"],
    ['["","10.0.0.2"]', "10.0.0.2"],
    ['["10.0.0.1","10.0.0.2"]', "10.0.0.1"],
    [' [ "10.0.0.1" ] ', "10.0.0.1"],
    ['["fd00::7"]', "[fd00::7]"],
    ['["FD00:0::7"]', "[fd00::7]"],
    ['["::ffff:10.0.0.1"]', "10.0.0.1"],
    ['["10.0.0.1","127.0.0.1"]', "10.0.0.1"],
  ])("projectBatchSandbox takes %s as %s, ready", (endpoints, endpoint) => {
    const { record, warning } = projectBatchSandbox(batchSandbox({ endpoints }), strict);
    expect(record).toMatchObject({ endpoint, ports: undefined, ready: true, notReady: "" });
    expect(warning).toBeUndefined();
  });

  test.each([null, "", "null", "[]", '[""]', '["",""]', "{}", '{"80":""}'])(
    "projectBatchSandbox takes %j as no endpoint yet, without a warning",
    (endpoints) => {
      const { record, warning } = projectBatchSandbox(batchSandbox({ endpoints }), strict);
      expect(record).toMatchObject({
        endpoint: "",
        ready: false,
        notReady: "sandbox not ready: sandbox sb has no endpoint yet",
      });
      expect(warning).toBeUndefined();
    },
  );

  test.each([
    ["loopback", '["127.0.0.1"]'],
    ["loopback", '["::1"]'],
    ["loopback", '["::ffff:127.0.0.1"]'],
    ["link-local", '["169.254.169.254"]'],
    ["link-local", '["::ffff:a9fe:a9fe"]'],
    ["link-local", '["fe80::1"]'],
    ["reserved", '["100.100.100.200"]'],
    ["reserved", '["fd00:ec2::254"]'],
    ["reserved", '["64:ff9b::169.254.169.254"]'],
    ["unspecified", '["0.0.0.0"]'],
    ["unspecified", '["::"]'],
    ["multicast", '["224.0.0.1"]'],
    ["multicast", '["ff02::1"]'],
    ["not an IP address", '["127.1"]'],
    ["not an IP address", '["2130706433"]'],
    ["not an IP address", '["0x7f.1"]'],
    ["not an IP address", '["010.0.0.1"]'],
    ["not an IP address", '["10.0.0.1:80"]'],
    ["not an IP address", '["10.0.0.1/x"]'],
    ["not an IP address", '["[fd00::7]"]'],
    ["not an IP address", '["fe80::1%eth0"]'],
    ["not an IP address", '[" 10.0.0.1"]'],
    ["not an IP address", '["metadata.google.internal"]'],
    ["not an IP address", '[null,"10.0.0.1"]'],
    ["not an IP address", '[["10.0.0.1"]]'],
    ["not an IP address", "[10]"],
    ["not an IP address", '["bad","10.0.0.1"]'],
    ["is not JSON", "10.0.0.1"],
    ["is not JSON", '["10.0.0.1"'],
    ["neither an array nor a map", '"10.0.0.1"'],
    ["neither an array nor a map", "7"],
    ["longer than", `["${"1".repeat(70_000)}"]`],
    ["has the invalid port", '{"0":"10.0.0.1:80"}'],
    ["has the invalid port", '{"080":"10.0.0.1:80"}'],
    ["has the invalid port", '{"65536":"10.0.0.1:80"}'],
    ["has the invalid port", '{"__proto__":"10.0.0.1:80"}'],
    ["not an address with a port", '{"80":"10.0.0.1:0"}'],
    ["not an address with a port", '{"80":"10.0.0.1:"}'],
    ["not an address with a port", '{"80":"10.0.0.1:80/x"}'],
    ["not an address with a port", '{"80":"fd00::7:80"}'],
    ["not an address with a port", '{"80":"[10.0.0.1]:80"}'],
    ["not an address with a port", '{"80":"host:80"}'],
    ["not an address with a port", '{"80":"u@10.0.0.1:80"}'],
    ["not an address with a port", '{"80":8080}'],
    ["loopback", '{"80":"10.0.0.1:80","81":"127.0.0.1:81"}'],
    ["more than", JSON.stringify(Object.fromEntries(Array.from({ length: 300 }, (_, i) => [i + 1, "10.0.0.1:80"])))],
  ])("projectBatchSandbox refuses (%s) the endpoints %s", (reason, endpoints) => {
    const { record, warning } = projectBatchSandbox(batchSandbox({ endpoints }), strict);
    expect(record).toMatchObject({
      endpoint: "",
      ports: undefined,
      ready: false,
      notReady: "sandbox not ready: sandbox sb has no usable endpoint",
    });
    expect(warning).toContain(reason);
    expect(warning?.length).toBeLessThan(300);
  });

  test("projectBatchSandbox refuses an annotation that is not a string", () => {
    for (const endpoints of [7, ["10.0.0.1"], { "80": "10.0.0.1:80" }, true]) {
      expect(recordOf(batchSandbox({ endpoints })).ready).toBe(false);
    }
  });

  test("projectBatchSandbox reads the map form port by port, and a changed map changes the endpoint", () => {
    const record = recordOf(
      batchSandbox({ endpoints: '{"9090":"[fd00::7]:9191","8080":"10.0.1.5:8080","81":"10.0.1.5"}' }),
    );
    expect(record.ready).toBe(true);
    expect([81, 8080, 9090, 80].map((port) => endpointFor(record, port))).toEqual([
      "10.0.1.5:81",
      "10.0.1.5:8080",
      "[fd00::7]:9191",
      undefined,
    ]);
    const reordered = recordOf(
      batchSandbox({ endpoints: '{"81":"10.0.1.5","8080":"10.0.1.5:8080","9090":"[FD00::7]:9191"}' }),
    );
    expect(reordered.endpoint).toBe(record.endpoint);
    const changed = recordOf(batchSandbox({ endpoints: '{"81":"10.0.1.5","8080":"10.0.1.5:8081"}' }));
    expect(changed.endpoint).not.toBe(record.endpoint);
  });

  test("projectBatchSandbox admits loopback if allowed, but never the rest or an address of the ingress", () => {
    const endpoints = endpointRules({ allowLoopback: true, ownAddresses: () => new Set(["10.0.0.9"]) });
    const options: ProjectOptions = { endpoints };
    expect(recordOf(batchSandbox({ endpoints: '["127.0.0.2"]' }), options)).toMatchObject({
      endpoint: "127.0.0.2",
      ready: true,
    });
    expect(recordOf(batchSandbox({ endpoints: '["169.254.169.254"]' }), options).ready).toBe(false);
    expect(recordOf(batchSandbox({ endpoints: '["10.0.0.9"]' }), options).ready).toBe(false);
    expect(recordOf(batchSandbox({ endpoints: '{"80":"10.0.0.9:80"}' }), options).ready).toBe(false);
  });
});

describe("projections: what a paused sandbox does", () => {
  const failed = [{ type: "ResumeFailed", status: "True" }];
  test.each([
    [{ phase: "Pausing" }, "asleep"],
    [{ phase: "Paused" }, "asleep"],
    [{ phase: "Resuming" }, "waking"],
    [{ phase: "Paused", conditions: failed }, "failed"],
    [{ phase: "Resuming", conditions: [{ type: "ResumeFailed", status: "False" }] }, "waking"],
    [{ phase: "Pending" }, undefined],
    [{ phase: "Failed" }, undefined],
    [{ phase: "Paused", ready: 1 }, undefined],
  ] as const)("projectBatchSandbox takes %j as %p", (status, sleep) => {
    expect(recordOf(batchSandbox({ status })).sleep).toBe(sleep);
  });

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
    expect(recordOf(object, strict, projectAgentSandbox).sleep).toBe(sleep);
  });
});

describe("projectAgentSandbox: warm pools and claims", () => {
  const of = (metadata: Record<string, unknown>) => projectAgentSandbox(agentSandbox({}, metadata), strict);

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

describe("projectBatchSandbox: readiness", () => {
  test.each([
    [undefined, { replicas: 2, ready: 0, phase: "Pending" }, "not ready (Pending: 0 of 2 replicas ready)"],
    [undefined, { replicas: 1, phase: "Succeed" }, "not ready (Pending: 0 of 1 replicas ready)"],
    [undefined, {}, "not ready (Pending: no replica ready)"],
    ["[]", { replicas: 0, ready: 0, phase: "Paused" }, "not ready (Paused: 0 of 0 replicas ready)"],
    [undefined, null, "missing status"],
    [undefined, "odd", "missing status"],
    [undefined, { ready: "1" }, "has an invalid status"],
    [undefined, { ready: 1.5 }, "has an invalid status"],
    [undefined, { ready: -1 }, "has an invalid status"],
    [undefined, { ready: [1] }, "has an invalid status"],
    [
      undefined,
      {
        conditions: [
          { type: "Ready" },
          7,
          { type: "PodFailed", status: "True", reason: "CrashLoop", message: "exit 1" },
        ],
      },
      "not ready (CrashLoop: exit 1)",
    ],
    [undefined, { conditions: [{ type: "Paused", status: "True" }] }, "not ready (Paused)"],
    [undefined, { conditions: { type: "Paused" }, phase: "Pausing" }, "not ready (Pausing: no replica ready)"],
  ])("projectBatchSandbox with endpoints %j says of status %j: %s", (endpoints, status, reason) => {
    const record = recordOf(batchSandbox({ endpoints, status }));
    expect(record).toMatchObject({ ready: false, notReady: `sandbox not ready: sandbox sb ${reason}` });
  });

  test("projectBatchSandbox keeps the endpoint while only the status says not ready", () => {
    expect(recordOf(batchSandbox({ status: { ready: 0 } })).endpoint).toBe("10.244.1.5");
  });

  test("projectBatchSandbox makes one short line of hostile texts", () => {
    const message = `a\r\nX-Evil: 1\u0000\u202e\u2028${"é".repeat(5_000)}\ud83d`;
    const { notReady } = recordOf(
      batchSandbox({
        status: { conditions: [{ type: "PodFailed", status: "True", reason: "R\n".repeat(200), message }] },
      }),
    );
    expect(notReady).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    expect(notReady.isWellFormed()).toBe(true);
    expect(notReady.length).toBeLessThan(450);
    expect(notReady).toContain("a X-Evil: 1 é");
    const half = [{ type: "Paused", status: "True", reason: "Half\ud83d" }];
    expect(recordOf(batchSandbox({ status: { conditions: half } })).notReady).toContain("(Half\ufffd)");
  });
});

describe("projections: metadata", () => {
  test("projections trim the access token; a blank one leaves the sandbox open", () => {
    expect(recordOf(batchSandbox({ token: " s3cret\n" })).accessToken).toBe("s3cret");
    expect(recordOf(batchSandbox({ token: "  " })).accessToken).toBe("");
    const annotations = { "opensandbox.io/secure-access-token": " t " };
    expect(recordOf(agentSandbox(undefined, { annotations }), strict, projectAgentSandbox).accessToken).toBe("t");
  });

  test.each([[{ "opensandbox.io/secure-access-token": 7 }], [["opensandbox.io/secure-access-token"]], ["text"]])(
    "projections never take a sandbox for open and ready when its annotations are %j",
    (annotations) => {
      const object = agentSandbox(
        { podIPs: ["10.0.0.1"], conditions: [{ type: "Ready", status: "True" }] },
        { annotations },
      );
      const { record, warning } = projectAgentSandbox(object, strict);
      expect(record?.ready).toBe(false);
      expect(warning).toContain("it is unknown whether the sandbox is secured");
    },
  );

  test.each([
    [undefined],
    [null],
    [7],
    [[]],
    [{}],
    [{ metadata: [] }],
    [{ metadata: { name: "sb", namespace: "ns" } }],
    [{ metadata: { name: "sb", uid: "u" } }],
    [{ metadata: { name: "", namespace: "ns", uid: "u" } }],
    [{ metadata: { name: "Upper", namespace: "ns", uid: "u" } }],
    [{ metadata: { name: "a/b", namespace: "ns", uid: "u" } }],
    [{ metadata: { name: "a..b", namespace: "ns", uid: "u" } }],
    [{ metadata: { name: "a".repeat(254), namespace: "ns", uid: "u" } }],
    [{ metadata: { name: "sb", namespace: "n.s", uid: "u" } }],
    [{ metadata: { name: "sb", namespace: "ns", uid: "u".repeat(200) } }],
    [{ metadata: { name: { toString: "x" }, namespace: "ns", uid: "u" } }],
  ])("projections say why %j has no usable identity", (object) => {
    for (const project of [projectBatchSandbox, projectAgentSandbox]) {
      const { record, warning } = project(object, strict);
      expect(record).toBeUndefined();
      expect(warning).toMatch(/^(metadata is missing|metadata\.)/);
    }
  });

  test("projections fill in namespace and uid if the caller has them", () => {
    const options: ProjectOptions = {
      endpoints: endpointRules(),
      defaultNamespace: "default",
      missingUid: (namespace, name) => `made-${namespace}-${name}`,
    };
    const record = recordOf({ metadata: { name: "sb" } }, options);
    expect(record).toMatchObject({ namespace: "default", uid: "made-default-sb" });
  });
});

describe("projectAgentSandbox", () => {
  const ready = [{ type: "Ready", status: "True", reason: "DependenciesReady" }];
  const project = (status: unknown) => projectAgentSandbox(agentSandbox(status), strict);

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

function randomJson(random: Random, depth: number): unknown {
  const kind = random.integer(depth > 0 ? 9 : 7);
  if (kind === 0) return null;
  if (kind === 1) return random.integer(2) === 0;
  if (kind === 2) return random.pick([0, 1, -1, 1.5, 1e308, -0]);
  if (kind < 7) {
    return random.pick([
      "",
      "sb",
      "ns",
      "10.0.0.1",
      "127.0.0.1",
      "[]",
      '["10.0.0.1"]',
      '["',
      "{}",
      '{"80":"10.0.0.1:80"}',
      "null",
      "True",
      "Ready",
      "sb.ns.svc",
      "\u0000",
      "\ud800",
      "x".repeat(300),
      "uid",
    ]);
  }
  const size = random.integer(5);
  if (kind === 7) return Array.from({ length: size }, () => randomJson(random, depth - 1));
  const entries = Array.from({ length: size }, () => [
    random.pick([
      "metadata",
      "name",
      "namespace",
      "uid",
      "annotations",
      "status",
      "ready",
      "conditions",
      "type",
      "reason",
      "message",
      "serviceFQDN",
      "podIPs",
      "phase",
      "replicas",
      "sandbox.opensandbox.io/endpoints",
      "opensandbox.io/secure-access-token",
      "constructor",
    ]),
    randomJson(random, depth - 1),
  ]);
  return Object.fromEntries(entries);
}

/** Puts random values into an object that would otherwise be usable, so that the depths are reached as well. */
function damage(random: Random, value: unknown): unknown {
  if (random.integer(12) === 0) return randomJson(random, 3);
  if (Array.isArray(value)) return value.map((item) => damage(random, item));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, damage(random, inner)]));
}

test("projections give a record or a refusal for any JSON, and ready only with an endpoint", () => {
  const random = createRandom(20_260_101);
  const agent = agentSandbox(
    { serviceFQDN: "sb.ns.svc", podIPs: ["10.0.0.1"], conditions: [{ type: "Ready", status: "True" }] },
    { annotations: { "opensandbox.io/secure-access-token": "t" } },
  );
  const seen = { records: 0, ready: 0, refusals: 0 };
  for (let run = 0; run < 20_000; run += 1) {
    const object = random.pick([
      () => randomJson(random, 6),
      () => damage(random, batchSandbox({ token: "t" })),
      () => damage(random, agent),
    ])();
    for (const project of [projectBatchSandbox, projectAgentSandbox]) {
      const { record, warning } = project(object, strict);
      if (record === undefined) {
        // The objects have no labels, so none is in a warm pool.
        expect(warning).not.toBe("");
        expect(warning).toBeString();
        seen.refusals += 1;
        continue;
      }
      seen.records += 1;
      expect(record.ready).toBe(record.notReady === "");
      expect(record.notReady.length).toBeLessThan(800);
      if (!record.ready) continue;
      seen.ready += 1;
      expect(record.endpoint).not.toBe("");
      expect(warning).toBeUndefined();
      expect(URL.canParse(`http://${endpointFor(record, 80) ?? "x:80"}/`)).toBe(true);
    }
  }
  expect(Math.min(seen.records, seen.ready, seen.refusals)).toBeGreaterThan(500);
});
