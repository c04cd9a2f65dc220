import { describe, expect, test } from "bun:test";
import { createDnsLookup } from "../../../../src/proxy/upstream/dns-lookup.ts";
import { startDnsServer } from "../../../support/dns-server.ts";

const start = async (names: Parameters<typeof startDnsServer>[0]) => {
  const server = await startDnsServer(names);
  return { server, lookup: createDnsLookup({ clusterDomain: "k8s.test", servers: [server.address] }) };
};

describe("createDnsLookup", () => {
  test("createDnsLookup gives the addresses of both families, and asks for a short name in the cluster's domain", async () => {
    const { server, lookup } = await start({
      "sb.ns.svc.k8s.test": { ipv4: ["10.0.0.7", "10.0.0.8"], ipv6: ["fd00:0:0:0:0:0:0:7"] },
    });
    await using _ = server;
    const whole = { addresses: ["10.0.0.7", "10.0.0.8", "fd00::7"], unanswered: undefined };
    expect(await lookup("sb.ns.svc")).toEqual(whole);
    expect(await lookup("sb.ns.svc.k8s.test")).toEqual(whole);
    expect(new Set(server.asked)).toEqual(new Set(["sb.ns.svc.k8s.test/A", "sb.ns.svc.k8s.test/AAAA"]));
  });

  test("createDnsLookup takes a name that does not exist, or has no address, as an empty answer", async () => {
    const { server, lookup } = await start({ "empty.ns.svc.k8s.test": {} });
    await using _ = server;
    expect(await lookup("nobody.ns.svc")).toEqual({ addresses: [], unanswered: undefined });
    expect(await lookup("empty.ns.svc")).toEqual({ addresses: [], unanswered: undefined });
  });

  test("createDnsLookup says which family failed, and rejects when both did", async () => {
    const { server, lookup } = await start({
      "four.ns.svc.k8s.test": { ipv4: ["10.0.0.7"], ipv6: "fail" },
      "six.ns.svc.k8s.test": { ipv4: "fail", ipv6: ["fd00:0:0:0:0:0:0:7"] },
      "none.ns.svc.k8s.test": { ipv4: "fail", ipv6: "fail" },
      "silent.ns.svc.k8s.test": { ipv4: "silent", ipv6: "silent" },
    });
    await using _ = server;
    expect(await lookup("four.ns.svc")).toEqual({ addresses: ["10.0.0.7"], unanswered: 6 });
    expect(await lookup("six.ns.svc")).toEqual({ addresses: ["fd00::7"], unanswered: 4 });
    for (const name of ["none.ns.svc", "silent.ns.svc"]) {
      expect(await lookup(name).catch(String)).toMatch(/ESERVFAIL|ETIMEOUT/);
    }
  });

  test("createDnsLookup answers nothing by itself: localhost is asked for like any name", async () => {
    const { server, lookup } = await start({});
    await using _ = server;
    expect((await lookup("sb.ns.svc.localhost")).addresses).toEqual([]);
    expect(server.asked).toContain("sb.ns.svc.localhost/A");
  });
});
