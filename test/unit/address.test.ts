import { describe, expect, test } from "bun:test";
import {
  classifyAddress,
  formatUrlHost,
  parseAddress,
  parseAddressRanges,
  parseAddressSet,
} from "../../src/address.ts";

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
  ["fd00:ec2::23", "reserved"],
  ["169.254.170.23", "link-local"],
  ["fd20:ce::254", "reserved"],
  ["fd00:c1::a9fe:a9fe", "reserved"],
  ["192.0.0.192", "reserved"],
  ["fd00:42::42", "reserved"],
  ["fd00:a9fe:a9fe::1", "reserved"],
  ["fd00:100::100:200", "reserved"],
  ["2002:a9fe:a9fe::1", "reserved"],
  ["2001:0:a9fe:a9fe::1", "reserved"],
  ["2001:0:4136:e378:8000:63bf:5601:5601", "reserved"],
  ["::ffff:0:a9fe:a9fe", "reserved"],
  ["64:ff9b::a9fe:a9fe", "reserved"],
  ["64:ff9b:1::7f00:1", "reserved"],
  ["::7f00:1", "reserved"],
  ["100.100.100.201", "private"],
  ["fd00:ec3::254", "private"],
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

  test.each<[string, readonly string[], readonly string[]]>([
    ["::/0", ["::1", "2001:db8::1", "fd00::1"], ["10.0.0.1", "203.0.113.7", "::ffff:10.0.0.1"]],
    ["::/64", ["::1"], ["10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1"]],
    ["::/96", ["::7f00:1"], ["127.0.0.1"]],
    ["0.0.0.0/0", ["10.0.0.1", "::ffff:10.0.0.1"], ["::1", "::", "fd00::1"]],
    ["0.0.0.0/0,::/0", ["10.0.0.1", "::1"], ["", "name", "fe80::1%eth0"]],
    ["::ffff:10.0.0.0/104", ["10.200.0.1", "::ffff:10.0.0.1"], ["11.0.0.1", "::1"]],
    ["::ffff:10.0.0.1", ["10.0.0.1"], ["10.0.0.2", "::1"]],
    ["::ffff:0:0/96", ["10.0.0.1", "203.0.113.7"], ["::1"]],
  ])("parseAddressSet keeps the families apart in %j", (text, inside, outside) => {
    const set = parseAddressSet(text);
    for (const address of inside) expect([address, set.has(address)]).toEqual([address, true]);
    for (const address of outside) expect([address, set.has(address)]).toEqual([address, false]);
  });

  test.each([
    "::ffff:10.0.0.0/95",
    "::ffff:10.0.0.0/8",
    "10.0.0.0/08",
    "10.0.0.0/8/8",
    "",
    "10.0.0.0/33",
    "::/129",
    "10.0.0/8",
    "10.0.0.0/",
    "10.0.0.0/-1",
    "private,,none",
    "fe80::1%1/64",
  ])("parseAddressSet refuses %j and names the part", (text) =>
    expect(() => parseAddressSet(text)).toThrow("Cannot parse address range"),
  );
});

describe("parseAddressRanges", () => {
  test("parseAddressRanges knows addresses and ranges of both families", () => {
    const pods = parseAddressRanges("10.244.0.0/16, fd00:10::/64,10.9.9.9");
    expect(["10.244.7.1", "fd00:10::7", "10.9.9.9"].map((address) => pods.has(address))).not.toContain(false);
    expect(["10.245.0.1", "fd00:11::7", "127.0.0.1", "name"].map((address) => pods.has(address))).not.toContain(true);
  });

  test.each(["", "private", "none", "10.0.0.0/8, private", "10.0.0.0/8,none", "10.0.0.0/33", "pods"])(
    "parseAddressRanges refuses %j",
    (text) => expect(() => parseAddressRanges(text)).toThrow("Cannot parse address range"),
  );
});
