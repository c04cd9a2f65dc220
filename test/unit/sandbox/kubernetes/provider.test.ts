import { describe, expect, test } from "bun:test";
import { systemClock, type Clock } from "../../../../src/clock.ts";
import type { KubeClient } from "../../../../src/kube/client.ts";
import { KubeError } from "../../../../src/kube/errors.ts";
import { isObject } from "../../../../src/values.ts";
import { silentLogger } from "../../../../src/log/logger.ts";
import { createKubernetesProvider } from "../../../../src/sandbox/kubernetes/provider.ts";
import { batchSandbox } from "../../../../scripts/lib/stage/sandbox-objects.ts";
import { endpointRules } from "../../../../scripts/lib/stage/endpoint-rules.ts";
import { eventually } from "../../../../scripts/lib/eventually.ts";

const failing: KubeClient = { get: () => Promise.reject(new KubeError("unreachable", "away")) };

function createFailing(namespaces: readonly string[], clock: Clock = systemClock) {
  return createProvider(namespaces, { client: failing, clock });
}

function createProvider(namespaces: readonly string[], options: { client: KubeClient; clock?: Clock }) {
  const { client, clock = systemClock } = options;
  return createKubernetesProvider({
    client,
    providerType: "batchsandbox",
    namespaces,
    allNamespaces: false,
    endpoints: endpointRules(),
    logger: silentLogger,
    clock,
  });
}

describe("createKubernetesProvider", () => {
  test("refuses to watch no namespace", () => {
    expect(() => createFailing([])).toThrow("namespaces are missing");
  });

  test("reports the faults of a few namespaces in one line, and how many more there are", async () => {
    const provider = createFailing(["a", "b", "c", "d", "e", "e"]);
    await provider.start();
    await eventually(() => provider.status().fault?.endsWith("; and 2 more") === true);
    const fault = provider.status().fault ?? "";
    for (const namespace of ["a", "b", "c"]) expect(fault).toContain(`in namespace "${namespace}"`);
    expect(fault).not.toContain("\n");
    expect(await provider.whenSynced(1)).toBe(false);
    expect(provider.resolve("x")).toEqual({ state: "not-found" });
    await provider.stop();
    await provider.stop();
  });

  test("keeps the last state of an object that changes while the objects are streamed", async () => {
    const event = (type: string, object: unknown) => `${JSON.stringify({ type, object })}\n`;
    const object = (name: string, uid: string | undefined, resourceVersion: string) => {
      const { metadata, ...rest } = batchSandbox({ name, namespace: "a" });
      return { ...rest, metadata: { ...(isObject(metadata) ? metadata : {}), uid, resourceVersion } };
    };
    const annotations = { "k8s.io/initial-events-end": "true" };
    const lines = [
      event("ADDED", object("unfit", "u1", "1")),
      event("ADDED", object("deleted", "u2", "2")),
      event("ADDED", object("stays", "u3", "3")),
      event("MODIFIED", object("unfit", undefined, "4")),
      event("DELETED", object("deleted", "u2", "5")),
      event("BOOKMARK", { metadata: { resourceVersion: "5", annotations } }),
    ].join("");
    const body = () =>
      new ReadableStream<Uint8Array>({ start: (controller) => controller.enqueue(new TextEncoder().encode(lines)) });
    const provider = createProvider(["a"], { client: { get: () => Promise.resolve(new Response(body())) } });
    await provider.start();
    expect(await provider.whenSynced(20_000)).toBe(true);
    expect(["unfit", "deleted", "stays"].map((name) => provider.resolve(name).state)).toEqual([
      "not-found",
      "not-found",
      "found",
    ]);
    await provider.stop();
  });

  test("counts its age from its creation until the first list", () => {
    let nowMs = 1000;
    const provider = createFailing(["a"], { ...systemClock, monotonic: () => nowMs });
    nowMs = 6000;
    expect(provider.status()).toEqual({ synced: false, fault: undefined, ageMs: 5000 });
  });
});
