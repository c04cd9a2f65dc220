import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { PROGRAM_BASE_BYTES, resolveMemoryPlan } from "../../../src/config/memory-plan.ts";
import { FLAGS } from "../../../src/config/parse-config.ts";
import { dig } from "../../support/kustomize.ts";

const DEPLOY = join(import.meta.dir, "../../../deploy");
const read = (path: string): unknown => Bun.YAML.parse(readFileSync(join(DEPLOY, path), "utf8"));
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

const MIB = 1024 * 1024;
const SUFFIXES: Readonly<Record<string, number>> = { Mi: MIB, Gi: 1024 * MIB };
/** The longest WebSocket message without a memory limit. */
const MESSAGE_MAX_BYTES = 64 * MIB;
/** Time to cut open requests and flush queues, in seconds: measured at most 3. */
const ENDING_SECONDS = 10;

function parseQuantity(text: unknown): number {
  const [, number = "", suffix = ""] = /^(\d+)(Mi|Gi)$/.exec(String(text)) ?? [];
  const factor = SUFFIXES[suffix];
  if (factor === undefined) throw new Error(`not a quantity of memory: ${String(text)}`);
  return Number(number) * factor;
}

function defaultOf(name: string): string {
  const flag = FLAGS.find((known) => known.name === name);
  if (flag === undefined) throw new Error(`no such flag: ${name}`);
  return flag.default;
}

function defaultSeconds(name: string): number {
  const seconds = /^(\d+)s$/.exec(defaultOf(name))?.[1];
  if (seconds === undefined) throw new Error(`not in seconds: --${name} ${defaultOf(name)}`);
  return Number(seconds);
}

const pod = dig(read("base/deployment.yaml"), "spec", "template", "spec");
const container = dig(pod, "containers", 0);

describe("deploy/base/deployment.yaml", () => {
  test("resources: the request holds the program with its table, and the limit fits the defaults of the flags", () => {
    const request = parseQuantity(dig(container, "resources", "requests", "memory"));
    const limit = parseQuantity(dig(container, "resources", "limits", "memory"));
    expect(request).toBeGreaterThanOrEqual(PROGRAM_BASE_BYTES);
    const flags = { memoryBudgetBytes: undefined, websocketMaxMessageBytes: undefined };
    const plan = resolveMemoryPlan(flags, { bytes: limit, source: "container" });
    expect(plan.warnings).toEqual([]);
    expect(plan.websocketMaxMessageBytes).toBe(MESSAGE_MAX_BYTES);
    expect(PROGRAM_BASE_BYTES + plan.budgetBytes).toBeLessThan(limit);
  });

  test("resources: processor time is requested and not limited", () => {
    expect(dig(container, "resources", "requests", "cpu")).toBe("1");
    expect(dig(container, "resources", "limits", "cpu")).toBeUndefined();
  });

  test("terminationGracePeriodSeconds is above the time to end with the flags' defaults", () => {
    const ending = defaultSeconds("shutdown-delay") + defaultSeconds("drain-timeout") + ENDING_SECONDS;
    expect(dig(pod, "terminationGracePeriodSeconds")).toBeGreaterThanOrEqual(ending);
  });

  test("pods get no variables of Services, and old pods of a rollout do not count in the spread", () => {
    expect(dig(pod, "enableServiceLinks")).toBe(false);
    const constraints = listOf(dig(pod, "topologySpreadConstraints"));
    expect(constraints.map((constraint) => dig(constraint, "topologyKey"))).toEqual([
      "kubernetes.io/hostname",
      "topology.kubernetes.io/zone",
    ]);
    for (const constraint of constraints) expect(dig(constraint, "matchLabelKeys")).toEqual(["pod-template-hash"]);
  });

  test("nobody's X-Forwarded-For is believed unless told, and the ranges of pods are recommended", () => {
    expect(listOf(dig(container, "args"))).toContain("--trusted-proxies=none");
    const text = readFileSync(join(DEPLOY, "base/deployment.yaml"), "utf8");
    expect(text).toMatch(/# Recommended:[^-]*--cluster-cidr[^-]*\n(?: *#.*\n)* *# - --endpoint-ranges=/);
  });

  test("no sandbox can have the address of the node or of the pod: both are told to the program", () => {
    const names = listOf(dig(container, "env")).map((entry) => dig(entry, "name"));
    for (const name of ["NODE_IP", "POD_IPS"]) expect(names).toContain(name);
  });

  test("the image is this checkout's version", async () => {
    const { name } = { name: String(dig(container, "image")) };
    expect(name).not.toContain(":");
    const manifest: unknown = await Bun.file(join(DEPLOY, "../package.json")).json();
    expect(dig(read("base/kustomization.yaml"), "images")).toEqual([{ name, newTag: dig(manifest, "version") }]);
  });
});

describe("deploy/components/network-policy", () => {
  const policy = dig(read("components/network-policy/network-policy.yaml"), "spec");

  test("network-policy selects the ingress's pods in both directions", () => {
    const labels = dig(read("base/deployment.yaml"), "spec", "template", "metadata", "labels");
    expect(dig(policy, "podSelector", "matchLabels")).toEqual(labels);
    expect(dig(policy, "policyTypes")).toEqual(["Ingress", "Egress"]);
  });

  test("network-policy admits only namespaces with a label of the operator, each to one port", () => {
    const rules = listOf(dig(policy, "ingress")).map((rule) => ({
      ports: listOf(dig(rule, "ports")).map((port) => dig(port, "port")),
      from: dig(rule, "from"),
    }));
    const labelled = (label: string) => [{ namespaceSelector: { matchLabels: { [label]: "true" } } }];
    expect(rules).toEqual([
      { ports: ["http"], from: labelled("opensandbox.io/ingress-gateway") },
      { ports: ["admin"], from: labelled("opensandbox.io/ingress-monitoring") },
    ]);
  });

  test("network-policy allows egress to pods, and to other addresses only on the ports of an API server and of DNS", () => {
    for (const rule of listOf(dig(policy, "egress"))) {
      const blocks = listOf(dig(rule, "to")).filter((peer) => dig(peer, "ipBlock") !== undefined);
      if (blocks.length === 0) continue;
      const ports = listOf(dig(rule, "ports")).map((port) => Number(dig(port, "port")));
      const isDns = ports[0] === 53;
      expect(ports).toEqual(isDns ? [53, 53] : [443, 6443]);
      for (const block of blocks) {
        const { cidr, except } = { cidr: dig(block, "ipBlock", "cidr"), except: dig(block, "ipBlock", "except") };
        if (isDns) expect(cidr).toBe("169.254.20.10/32");
        else expect(listOf(except).length).toBeGreaterThan(0);
      }
    }
  });
});

test("components append flags, and check the container's name first", () => {
  const files = [...new Bun.Glob("{components,overlays}/*/kustomization.yaml").scanSync({ cwd: DEPLOY })];
  expect(files.length).toBeGreaterThanOrEqual(6);
  for (const file of files) {
    const text = readFileSync(join(DEPLOY, file), "utf8");
    expect(text).not.toMatch(/args\/\d/);
    const adding = text.match(/containers\/0\/args\/-/g)?.length ?? 0;
    if (adding > 0) expect(text).toContain("path: /spec/template/spec/containers/0/name");
  }
});
