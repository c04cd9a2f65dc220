import { describe, expect, test } from "bun:test";
import { classifyAddress, formatUrlHost, parseAddress, parseAddressSet } from "../../src/address.ts";

describe("parseAddress", () => {
  test.each([
    ["10.244.1.5", "10.244.1.5"],
    ["FD00::7", "fd00::7"],
    ["fd00:0:0:0:0:0:0:7", "fd00::7"],
    ["::ffff:10.0.0.1", "10.0.0.1"],
    ["::ffff:a9fe:a9fe", "169.254.169.254"],
    ["::1", "::1"],
  ])("parseAddress gives the canonical text of %s", (text, expected) => {
    expect(parseAddress(text)).toBe(expected);
  });

  test.each(["", "127.1", "2130706433", "0x7f.1", "010.0.0.1", "10.0.0.1:80", "[::1]", "fe80::1%eth0", "host", " ::1"])(
    "parseAddress refuses %j",
    (text) => expect(parseAddress(text)).toBeUndefined(),
  );
});

test.each([
  ["127.0.0.2", "loopback"],
  ["::1", "loopback"],
  ["0.0.0.0", "unspecified"],
  ["::", "unspecified"],
  ["169.254.169.254", "link-local"],
  ["fe80::1", "link-local"],
  ["224.0.0.1", "multicast"],
  ["255.255.255.255", "multicast"],
  ["ff02::1", "multicast"],
  ["10.0.0.1", "private"],
  ["100.64.0.1", "private"],
  ["fd00::1", "private"],
  ["100.100.100.200", "reserved"],
  ["168.63.129.16", "reserved"],
  ["fd00:ec2::254", "reserved"],
  ["fd20:ce::254", "reserved"],
  ["64:ff9b::a9fe:a9fe", "reserved"],
  ["64:ff9b:1::7f00:1", "reserved"],
  ["::7f00:1", "reserved"],
  ["100.100.100.201", "private"],
  ["fd00:ec2::255", "private"],
  ["8.8.8.8", "global"],
  ["2001:db8::1", "global"],
] as const)("classifyAddress says that %s is %s", (address, expected) => {
  expect(classifyAddress(address)).toBe(expected);
});

test("formatUrlHost brackets IPv6 only", () => {
  expect(formatUrlHost("10.0.0.1")).toBe("10.0.0.1");
  expect(formatUrlHost("fd00::1")).toBe("[fd00::1]");
});

describe("parseAddressSet", () => {
  test("parseAddressSet knows none, private, addresses and ranges of both families", () => {
    expect(parseAddressSet("none").has("127.0.0.1")).toBe(false);
    const trusted = parseAddressSet("private, 203.0.113.7,2001:db8::/32");
    expect(["10.1.2.3", "203.0.113.7", "2001:db8::5", "fd00::1", "::1"].map((a) => trusted.has(a))).not.toContain(
      false,
    );
    expect(["203.0.113.8", "2001:db9::5", "", "unknown"].map((a) => trusted.has(a))).not.toContain(true);
  });

  test.each(["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", "private,,none", "fe80::1%1/64"])(
    "parseAddressSet refuses %j and names the part",
    (text) => expect(() => parseAddressSet(text)).toThrow("Cannot parse address range"),
  );
});
