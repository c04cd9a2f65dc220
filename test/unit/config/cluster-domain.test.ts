import { describe, expect, test } from "bun:test";
import { readClusterDomain } from "../../../src/config/parse-config.ts";

describe("readClusterDomain", () => {
  test.each([
    ["", "cluster.local"],
    ["nameserver 10.96.0.10\n", "cluster.local"],
    ["search ns.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n", "cluster.local"],
    ["search ns.svc.k8s.example.org svc.k8s.example.org k8s.example.org corp.example\n", "k8s.example.org"],
    ["search\tns.svc.X.Local.\tsvc.X.Local.\r\n", "x.local"],
    ["search svc.one.local\nsearch svc.two.local\n", "two.local"],
    ["# search svc.one.local\n;search svc.one.local\n", "cluster.local"],
    ["search svc.localhost svc.127 svc. svc..x svc.a_b\n", "cluster.local"],
    ["search corp.example\n", "cluster.local"],
  ])("readClusterDomain reads %j as %s", (resolverConfig, expected) => {
    expect(readClusterDomain(resolverConfig)).toBe(expected);
  });
});
