import { describe, expect, test } from "bun:test";
import { networkInterfaces } from "node:os";
import { systemClock, type Clock } from "../../../src/clock.ts";
import type { KubeClient } from "../../../src/kube/kube-client.ts";
import { KubeError } from "../../../src/kube/kube-error.ts";
import { silentLogger } from "../../../src/log.ts";
import { createKubernetesProvider } from "../../../src/sandbox/kubernetes-provider.ts";
import { readOwnAddresses } from "../../../src/sandbox/own-addresses.ts";
import { eventually } from "../../../scripts/lib/eventually.ts";

const failing: KubeClient = { get: () => Promise.reject(new KubeError("unreachable", "away")) };

function createFailing(namespaces: readonly string[], clock: Clock = systemClock) {
  return createKubernetesProvider({
    client: failing,
    providerType: "batchsandbox",
    namespaces,
    allNamespaces: false,
    allowLoopbackEndpoints: false,
    logger: silentLogger,
    clock,
  });
}

describe("createKubernetesProvider", () => {
  test("refuses to watch no namespace", () => {
    expect(() => createFailing([])).toThrow("no namespace is given");
  });

  test("tells the faults of a few namespaces in one line, and how many more there are", async () => {
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

  test("counts its age from its creation until the first list", () => {
    let nowMs = 1000;
    const provider = createFailing(["a"], { ...systemClock, monotonic: () => nowMs });
    nowMs = 6000;
    expect(provider.status()).toEqual({ synced: false, fault: undefined, ageMs: 5000 });
  });
});

describe("readOwnAddresses", () => {
  test("gives the machine's addresses without loopback, canonical", () => {
    const own = readOwnAddresses();
    for (const entry of Object.values(networkInterfaces()).flat()) {
      if (entry?.family === "IPv4") expect(own.has(entry.address)).toBe(!entry.internal);
    }
    for (const address of own) expect(address).not.toMatch(/%|^127\.|^::1$/);
  });
});
