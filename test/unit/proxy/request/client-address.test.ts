import { describe, expect, test } from "bun:test";

import { parseAddressSet } from "../../../../src/address.ts";
import { createClientAddressResolver } from "../../../../src/proxy/request/client-address.ts";

const PROXY = "10.0.0.1";

describe("ClientAddress.isShared", () => {
  test.each([
    // Nobody tells who is behind a private address: a gateway or a node makes all clients look like itself.
    ["none", "10.0.0.9", undefined, true],
    ["none", "10.0.0.9", "203.0.113.7", true],
    ["none", "127.0.0.1", undefined, true],
    ["none", "100.64.0.1", undefined, true],
    ["none", "fd00::9", undefined, true],
    ["none", "::ffff:10.0.0.9", undefined, true],
    ["none", "", undefined, true],
    ["none", "203.0.113.7", undefined, false],
    ["none", "2a00::7", undefined, false],
    ["none", "::ffff:203.0.113.7", "198.51.100.1", false],
    // A trusted proxy tells. If it does not, it stands for all of its clients.
    [PROXY, PROXY, "203.0.113.7", false],
    [PROXY, PROXY, "10.9.9.9", false],
    [PROXY, PROXY, undefined, true],
    [PROXY, PROXY, "", true],
    [PROXY, PROXY, "unknown", true],
    [PROXY, PROXY, PROXY, true],
    ["203.0.113.1", "203.0.113.1", undefined, true],
    [PROXY, "10.0.0.9", "203.0.113.7", true],
  ] as const)("with %p trusted, for %p that says %p, is %p", (trusted, peer, forwardedFor, isShared) => {
    const resolve = createClientAddressResolver(parseAddressSet(trusted));
    // The second time from memory.
    for (let i = 0; i < 2; i++) expect(resolve(peer, forwardedFor).isShared).toBe(isShared);
  });
});
