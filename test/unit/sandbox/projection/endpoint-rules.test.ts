import { describe, expect, test } from "bun:test";
import { parseAddressRanges } from "../../../../src/address.ts";
import { endpointRules } from "../../../../scripts/lib/stage/endpoint-rules.ts";

describe("EndpointRules.judge", () => {
  test("EndpointRules.judge always refuses the addresses of the API server, the node and the ingress", () => {
    const { judge } = endpointRules({
      allowLoopback: true,
      ranges: parseAddressRanges("0.0.0.0/0,::/0"),
      environment: { KUBERNETES_SERVICE_HOST: "10.96.0.1", HOST_IP: "192.168.7.1", POD_IP: "FD00::9" },
      ownAddresses: () => new Set(["10.244.0.9"]),
    });
    for (const address of ["10.96.0.1", "192.168.7.1", "fd00::9"]) expect(judge(address)).toContain("API server");
    expect(judge("10.244.0.9")).toBe("is an address of the ingress itself");
    expect(judge("10.244.0.10")).toBeUndefined();
    expect(judge("127.0.0.1")).toBeUndefined();
    expect(judge("169.254.169.254")).toBe("is a link-local address, which a pod cannot have");
    expect(judge("fd00:ec2::23")).toBe("is a reserved address, which a pod cannot have");
  });

  test("EndpointRules.judge refuses addresses outside the ranges, loopback addresses too", () => {
    const { judge } = endpointRules({ allowLoopback: true, ranges: parseAddressRanges("10.244.0.0/16,fd00:10::/64") });
    expect(judge("10.244.9.9")).toBeUndefined();
    expect(judge("fd00:10::9")).toBeUndefined();
    for (const address of ["10.245.0.1", "fd00:11::1", "8.8.8.8", "127.0.0.1", "::1"]) {
      expect(judge(address)).toBe("is outside --endpoint-ranges");
    }
  });

  test("EndpointRules.judge refuses the addresses that were learnt of the API server, at most the last 64", () => {
    const rules = endpointRules({ allowLoopback: true });
    const { judge } = rules;
    rules.learnApiServer(["10.0.0.1", "::ffff:10.0.0.2", "FD00:0::7", "127.0.0.1", "api.example.org", ""]);
    for (const address of ["10.0.0.1", "10.0.0.2", "fd00::7"]) {
      expect(judge(address)).toBe("is an address of the API server");
    }
    expect(judge("127.0.0.1")).toBeUndefined();
    expect(judge("10.0.0.3")).toBeUndefined();
    rules.learnApiServer(Array.from({ length: 62 }, (_, at) => `10.0.1.${at}`));
    rules.learnApiServer(["10.0.0.1"]);
    expect([judge("10.0.0.2"), judge("10.0.0.1") !== undefined, judge("10.0.1.0") !== undefined]).toEqual([
      undefined,
      true,
      true,
    ]);
  });

  test("EndpointRules.judge uses the machine's current addresses", () => {
    let own: ReadonlySet<string> = new Set();
    const { judge } = endpointRules({ ownAddresses: () => own });
    expect(judge("10.0.0.9")).toBeUndefined();
    own = new Set(["10.0.0.9"]);
    expect(judge("10.0.0.9")).toContain("ingress itself");
  });
});
