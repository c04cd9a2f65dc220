import { describe, expect, test } from "bun:test";
import { networkInterfaces } from "node:os";
import {
  readEnvironmentAddresses,
  readOwnAddresses,
  trackOwnAddresses,
} from "../../../../src/sandbox/projection/own-addresses.ts";
import { createFakeClock } from "../../../../scripts/lib/stage/fake-clock.ts";

describe("readOwnAddresses", () => {
  test("gives the machine's addresses without loopback, canonical", () => {
    const own = readOwnAddresses();
    for (const entry of Object.values(networkInterfaces()).flat()) {
      if (entry?.family === "IPv4") expect(own.has(entry.address)).toBe(!entry.internal);
    }
    for (const address of own) expect(address).not.toMatch(/%|^127\.|^::1$/);
  });
});

describe("trackOwnAddresses", () => {
  test("reads the addresses again when the reading is older than 10 s", () => {
    const clock = createFakeClock();
    let readings = 0;
    const own = trackOwnAddresses(clock, () => new Set([`10.0.0.${++readings}`]));
    expect([...own()]).toEqual(["10.0.0.1"]);
    clock.advance(9_999);
    expect([...own()]).toEqual(["10.0.0.1"]);
    clock.advance(1);
    expect([...own()]).toEqual(["10.0.0.2"]);
  });
});

describe("readEnvironmentAddresses", () => {
  test("returns the canonical addresses of the API server, the node and the pod, and skips other texts", () => {
    const found = readEnvironmentAddresses({
      KUBERNETES_SERVICE_HOST: "FD00:10::1",
      HOST_IP: "192.168.7.1",
      NODE_IP: "",
      POD_IP: "api.example.org",
      POD_IPS: "10.244.0.9, fd00::9",
      OTHER_IP: "10.0.0.1",
    });
    expect([...found].toSorted()).toEqual(["10.244.0.9", "192.168.7.1", "fd00:10::1", "fd00::9"]);
    expect(readEnvironmentAddresses({}).size).toBe(0);
  });

  test("finds the API server also where its variable has a name in place of the address", () => {
    const found = readEnvironmentAddresses({
      KUBERNETES_SERVICE_HOST: "cluster-dns-1234.hcp.westeurope.azmk8s.io",
      KUBERNETES_PORT_443_TCP_ADDR: "10.0.0.1",
    });
    expect([...found]).toEqual(["10.0.0.1"]);
  });
});
