import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { eventually } from "../../../../scripts/lib/eventually.ts";
import { createDnsLookup } from "../../../../src/proxy/upstream/dns-lookup.ts";
import { buildDnsAnswer, startDnsServer } from "../../../support/dns-server.ts";
import { createHurriedClock } from "../../../support/hurried-clock.ts";

const start = async (names: Parameters<typeof startDnsServer>[0]) => {
  const server = await startDnsServer(names);
  return { server, lookup: createDnsLookup({ clusterDomain: "k8s.test", servers: [server.address] }) };
};

describe("createDnsLookup", () => {
  test("createDnsLookup returns the addresses of both families, and looks a short name up in the cluster's domain", async () => {
    const { server, lookup } = await start({
      "sb.ns.svc.k8s.test": { ipv4: ["10.0.0.7", "10.0.0.8"], ipv6: ["fd00:0:0:0:0:0:0:7"] },
    });
    await using _ = server;
    const whole = { addresses: ["10.0.0.7", "10.0.0.8", "fd00:0:0:0:0:0:0:7"], unanswered: undefined };
    expect(await lookup("sb.ns.svc")).toEqual(whole);
    expect(await lookup("sb.ns.svc.k8s.test")).toEqual(whole);
    expect(new Set(server.asked)).toEqual(new Set(["sb.ns.svc.k8s.test/A", "sb.ns.svc.k8s.test/AAAA"]));
  });

  test("createDnsLookup returns an empty answer for a name that does not exist or has no address", async () => {
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
    expect(await lookup("six.ns.svc")).toEqual({ addresses: ["fd00:0:0:0:0:0:0:7"], unanswered: 4 });
    expect(await lookup("none.ns.svc").catch(String)).toContain("answered with code 2");
    expect(await lookup("silent.ns.svc").catch(String)).toContain("no DNS server answered for 1500 ms");
  });

  test("createDnsLookup asks the server for every name, even localhost", async () => {
    const { server, lookup } = await start({});
    await using _ = server;
    expect((await lookup("sb.ns.svc.localhost")).addresses).toEqual([]);
    expect(server.asked).toContain("sb.ns.svc.localhost/A");
  });

  test("createDnsLookup keeps no answer: neither an address nor that a name does not exist", async () => {
    const { server, lookup } = await start({ "moves.ns.svc.k8s.test": { ipv4: ["10.0.0.7"] } });
    await using _ = server;
    expect((await lookup("moves.ns.svc")).addresses).toEqual(["10.0.0.7"]);
    expect((await lookup("fresh.ns.svc")).addresses).toEqual([]);
    server.names.set("moves.ns.svc.k8s.test", { ipv4: ["10.0.0.8"] });
    server.names.set("fresh.ns.svc.k8s.test", { ipv4: ["10.0.0.9"] });
    expect((await lookup("moves.ns.svc")).addresses).toEqual(["10.0.0.8"]);
    expect((await lookup("fresh.ns.svc")).addresses).toEqual(["10.0.0.9"]);
  });

  test.each(["silent", "fail"] as const)("createDnsLookup asks the next server if one is %p", async (fault) => {
    await using broken = await startDnsServer({ "sb.ns.svc.k8s.test": { ipv4: fault, ipv6: fault } });
    await using good = await startDnsServer({ "sb.ns.svc.k8s.test": { ipv4: ["10.0.0.7"] } });
    const lookup = createDnsLookup({
      clusterDomain: "k8s.test",
      servers: ["127.0.0.1:1", broken.address, good.address],
      clock: createHurriedClock(10),
    });
    expect(await lookup("sb.ns.svc")).toEqual({ addresses: ["10.0.0.7"], unanswered: undefined });
    expect(broken.asked).toHaveLength(2);
  });

  test("createDnsLookup rejects if nothing listens or no server is known", async () => {
    for (const servers of [["127.0.0.1:1"], []]) {
      const lookup = createDnsLookup({ clusterDomain: "k8s.test", servers });
      expect(await lookup("sb.ns.svc").catch(String)).toMatch(/ECONNREFUSED|no DNS server is known/);
    }
  });

  test("createDnsLookup waits for the answer to its own query and ignores others", async () => {
    const right: readonly string[] = ["10.0.0.7"];
    const { server, lookup } = await start({
      "sb.ns.svc.k8s.test": {
        ipv4: (query) => {
          const forged = buildDnsAnswer(query, { found: ["10.6.6.6"], isIpv6: false });
          const otherId = Buffer.from(forged);
          otherId.writeUInt16BE((query.readUInt16BE(0) + 1) % 0x10000, 0);
          const otherName = Buffer.from(forged);
          otherName[13] = 0x78;
          const isQuery = Buffer.from(forged);
          isQuery[2] = 0x01;
          const answer = buildDnsAnswer(query, { found: right, isIpv6: false });
          return [otherId, otherName, isQuery, Buffer.alloc(0), Buffer.from("x"), forged.subarray(0, 20), answer];
        },
      },
    });
    await using _ = server;
    expect((await lookup("sb.ns.svc")).addresses).toEqual(["10.0.0.7"]);
  });

  test("createDnsLookup takes a huge answer as a failure", async () => {
    const huge = Array.from({ length: 4_000 }, (_, index) => `10.1.${index >> 8}.${index & 255}`);
    const { server, lookup } = await start({
      "huge.ns.svc.k8s.test": { ipv4: huge, ipv6: ["fd00:0:0:0:0:0:0:7"] },
      "cut.ns.svc.k8s.test": {
        ipv4: (query) => {
          const cut = buildDnsAnswer(query, { found: ["10.0.0.7"], isIpv6: false });
          cut.writeUInt16BE(cut.readUInt16BE(2) | 0x0200, 2);
          return [cut];
        },
        ipv6: "fail",
      },
    });
    await using _ = server;
    expect(await lookup("huge.ns.svc")).toEqual({ addresses: ["fd00:0:0:0:0:0:0:7"], unanswered: 4 });
    expect(await lookup("cut.ns.svc").catch(String)).toContain("larger than 512 bytes");
  });

  test("createDnsLookup leaves no socket behind, however a look-up ends", async () => {
    const { server, lookup } = await start({
      "good.ns.svc.k8s.test": { ipv4: ["10.0.0.7"] },
      "fails.ns.svc.k8s.test": { ipv4: "fail", ipv6: "fail" },
    });
    await using _ = server;
    const count = () => readdirSync("/proc/self/fd").length;
    const before = count();
    for (const name of ["good", "fails", "missing", "bad..name", `${"x".repeat(64)}.long`]) {
      await Promise.allSettled(Array.from({ length: 50 }, () => lookup(`${name}.ns.svc`)));
    }
    await eventually(() => count() <= before);
  });
});
