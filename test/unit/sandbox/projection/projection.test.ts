import { describe, expect, test } from "bun:test";
import { projectAgentSandbox } from "../../../../src/sandbox/projection/agent-sandbox.ts";
import { projectBatchSandbox } from "../../../../src/sandbox/projection/batch-sandbox.ts";
import type { ProjectOptions } from "../../../../src/sandbox/projection/projection.ts";
import { endpointFor } from "../../../../src/sandbox/provider.ts";
import { endpointRules } from "../../../../scripts/lib/stage/endpoint-rules.ts";
import { agentSandbox, batchSandbox } from "../../../../scripts/lib/stage/sandbox-objects.ts";
import { recordOf, STRICT } from "../../../support/record-of.ts";
import { createRandom, type Random } from "../../../../scripts/lib/stage/random.ts";

describe("projections: metadata", () => {
  test("projections trim the access token; a blank one leaves the sandbox open", () => {
    expect(recordOf(batchSandbox({ token: " s3cret\n" })).accessToken).toBe("s3cret");
    expect(recordOf(batchSandbox({ token: "  " })).accessToken).toBe("");
    const annotations = { "opensandbox.io/secure-access-token": " t " };
    expect(recordOf(agentSandbox(undefined, { annotations }), STRICT, projectAgentSandbox).accessToken).toBe("t");
  });

  test.each([[{ "opensandbox.io/secure-access-token": 7 }], [["opensandbox.io/secure-access-token"]], ["text"]])(
    "projections never take a sandbox for open and ready when its annotations are %j",
    (annotations) => {
      const object = agentSandbox(
        { podIPs: ["10.0.0.1"], conditions: [{ type: "Ready", status: "True" }] },
        { annotations },
      );
      const { record, warning } = projectAgentSandbox(object, STRICT);
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
      const { record, warning } = project(object, STRICT);
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
      const { record, warning } = project(object, STRICT);
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
