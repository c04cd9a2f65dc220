import { describe, expect, test } from "bun:test";

import { readPolicy } from "../../../../src/sandbox/projection/annotations.ts";

const P = "ingress.opensandbox.io/";
const read = (name: string, value: unknown) => readPolicy({ [P + name]: value });

/** A long value, with a short name for the list of tests. */
interface Named {
  readonly toString: () => string;
  readonly value: unknown;
}
const named = (name: string, value: unknown): Named => ({ toString: () => name, value });
const many = (count: number, item: (at: number) => string) => Array.from({ length: count }, (_, at) => item(at)).join();

describe("readPolicy: allowed-ports", () => {
  test.each<[string, readonly number[], readonly number[]]>([
    ["3000", [3000], [1, 2999, 3001, 65_535]],
    ["1-65535", [1, 80, 65_535], []],
    ["80-80", [80], [79, 81]],
    ["3000,8000-8999", [3000, 8000, 8500, 8999], [3001, 7999, 9000]],
    [" 3000 ,\n  8000-8001\n", [3000, 8000, 8001], [8002]],
    ["80,80,70-90", [70, 80, 90], [69, 91]],
    [many(64, (at) => String(at + 1)), [1, 64], [65]],
  ])("readPolicy takes ports %j", (value, inside, outside) => {
    const { policy, warning } = read("allowed-ports", value);
    expect(warning).toBeUndefined();
    for (const port of inside) expect(policy?.allowedPorts?.has(port)).toBe(true);
    for (const port of outside) expect(policy?.allowedPorts?.has(port)).toBe(false);
  });

  test.each<unknown>([
    "",
    ",",
    "80,",
    ",80",
    "0",
    "65536",
    "080",
    "80-",
    "-80",
    "90-80",
    "80--90",
    "80-90-100",
    "80 - 90",
    "8 0",
    "+80",
    "1e3",
    "0x50",
    "80.0",
    "*",
    "all",
    "80;90",
    "80 90",
    "80\u00a0",
    "８０",
    "٨٠",
    "80–90",
    "80\u0000",
    "80\u202e",
    80,
    null,
    undefined,
    {},
    [[]],
    [["80"]],
    true,
  ])("readPolicy allows no port for %j", (value) => {
    const { policy, warning } = read("allowed-ports", value);
    expect(warning).toContain(`invalid annotation ${P}allowed-ports, allowing nothing: expected`);
    for (const port of [1, 80, 90, 65_535]) expect(policy?.allowedPorts?.has(port)).toBe(false);
  });

  test.each([
    named(
      "65 ports",
      many(65, (at) => String(at + 1)),
    ),
    named("5,000 characters", `80${" ".repeat(5_000)}`),
    named("250 KiB of commas", ",".repeat(250_000)),
    named("250 KiB of digits", "8".repeat(250_000)),
  ])("readPolicy allows no port for %s", ({ value }) => {
    const { policy, warning } = read("allowed-ports", value);
    expect(policy?.allowedPorts?.has(80)).toBe(false);
    expect(warning?.length).toBeLessThan(300);
  });
});

describe("readPolicy: allowed-methods", () => {
  test.each<[string, readonly string[], readonly string[]]>([
    ["GET", ["GET", "HEAD"], ["POST", "OPTIONS", "get"]],
    ["HEAD", ["HEAD"], ["GET"]],
    ["GET, POST", ["GET", "HEAD", "POST"], ["PUT"]],
    ["M-SEARCH", ["M-SEARCH"], ["GET"]],
  ])("readPolicy takes methods %j", (value, inside, outside) => {
    const { policy, warning } = read("allowed-methods", value);
    expect(warning).toBeUndefined();
    for (const method of inside) expect(policy?.allowedMethods?.has(method)).toBe(true);
    for (const method of outside) expect(policy?.allowedMethods?.has(method)).toBe(false);
  });

  test.each<unknown>([
    "",
    "get",
    "GET,",
    "GET POST",
    "GET;POST",
    "*",
    "ＧＥＴ",
    "GET\u200b",
    "A".repeat(33),
    1,
    null,
    [["GET"]],
  ])("readPolicy allows no method for %j", (value) => {
    const { policy, warning } = read("allowed-methods", value);
    expect(warning).toContain("allowed-methods, allowing nothing");
    for (const method of ["GET", "HEAD", "POST", ""]) expect(policy?.allowedMethods?.has(method)).toBe(false);
  });
});

describe("readPolicy: allowed-origins", () => {
  test.each<[string, readonly string[], readonly string[]]>([
    [
      "https://app.example.com",
      ["https://app.example.com", "HTTPS://APP.example.com"],
      [
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://x.app.example.com",
        "null",
        "",

        "https://app.example.com/",
        "https://app.example.com, https://app.example.com",
        "https://app.example.com.evil.test",
      ],
    ],
    [
      "https://*.example.com,\n http://localhost:3000",
      ["https://a.example.com", "https://a.b.example.com", "http://localhost:3000"],
      [
        "https://example.com",
        "https://evilexample.com",
        "https://.example.com",
        "http://localhost",
        "https://a/.example.com",
      ],
    ],
    ["https://app.example.com:443", ["https://app.example.com"], ["https://app.example.com:443"]],
  ])("readPolicy takes origins %j", (value, inside, outside) => {
    const { policy, warning } = read("allowed-origins", value);
    expect(warning).toBeUndefined();
    for (const origin of inside) expect([origin, policy?.allowedOrigins?.has(origin)]).toEqual([origin, true]);
    for (const origin of outside) expect([origin, policy?.allowedOrigins?.has(origin)]).toEqual([origin, false]);
  });

  test.each<unknown>([
    "",
    " ",
    "*",
    "null",
    "app.example.com",
    "https://",
    "https://a.test/",
    "https://*.com",
    "https://a.test,",
    "https://a b",
    "https://ａ.test",
    "https://exämple.com",
    "https://a.test\u200b",
    "https://a.test:0",
    "https://u@a.test",
    1,
    null,
    {},
    [["https://a.test"]],
  ])("readPolicy allows no origin for %j", (value) => {
    const { policy, warning } = read("allowed-origins", value);
    expect(warning).toContain("allowed-origins, allowing nothing");
    for (const origin of ["https://a.test", "null", ""]) expect(policy?.allowedOrigins?.has(origin)).toBe(false);
  });

  test("readPolicy allows no origin for 65 of them", () => {
    const { policy } = read(
      "allowed-origins",
      many(65, (at) => `https://a${at}.test`),
    );
    expect(policy?.allowedOrigins?.has("https://a1.test")).toBe(false);
  });
});

describe("readPolicy: client-cidrs", () => {
  test.each<[string, readonly string[], readonly string[]]>([
    ["203.0.113.0/24", ["203.0.113.0", "203.0.113.255", "::ffff:203.0.113.7"], ["203.0.114.0", "::1"]],
    ["203.0.113.7", ["203.0.113.7"], ["203.0.113.8"]],
    ["10.1.2.3/8", ["10.255.0.1"], ["11.0.0.1"]],
    ["0.0.0.0/0", ["10.0.0.1", "203.0.113.7"], ["::1", "2001:db8::1"]],
    ["::/0", ["::1", "2001:db8::1"], ["10.0.0.1", "203.0.113.7", "::ffff:10.0.0.1"]],
    ["::/64", ["::1"], ["10.0.0.1", "2001:db8::1"]],
    ["2001:DB8::/32, fd00::1", ["2001:db8:1::1", "fd00::1"], ["2001:db9::1", "fd00::2", "10.0.0.1"]],
    ["::ffff:10.0.0.0/104", ["10.200.0.1", "::ffff:10.0.0.1"], ["11.0.0.1", "::1"]],
    ["::ffff:10.0.0.1", ["10.0.0.1"], ["10.0.0.2"]],
    ["::ffff:0:0/96", ["10.0.0.1", "203.0.113.7"], ["::1"]],
    ["::ffff:a00:0/104", ["10.200.0.1"], ["11.0.0.1"]],
  ])("readPolicy takes ranges %j", (value, inside, outside) => {
    const { policy, warning } = read("client-cidrs", value);
    expect(warning).toBeUndefined();
    for (const client of inside) expect([client, policy?.allowedClients?.has(client)]).toEqual([client, true]);
    for (const client of [...outside, "", "localhost", "10.0.0", "fe80::1%eth0"]) {
      expect([client, policy?.allowedClients?.has(client)]).toEqual([client, false]);
    }
  });

  test.each<unknown>([
    "",
    ",",
    "10.0.0.0/33",
    "10.0.0.0/-1",
    "10.0.0.0/08",
    "10.0.0.0/",
    "10.0.0.0/8/8",
    "10.0.0/8",
    "010.0.0.1",
    "10.0.0.1,",

    "::/129",
    "::ffff:10.0.0.0/95",
    "::ffff:10.0.0.0/8",
    "fe80::1%eth0",
    "[::1]",
    "private",
    "none",
    "*",
    "all",
    "１０.0.0.0/8",
    "10.0.0.0/８",
    "10.0.0.0-10.0.0.9",
    "10.0.0.1\u200b",
    10,
    null,
    [["10.0.0.0/8"]],
    {},
  ])("readPolicy allows no client for %j", (value) => {
    const { policy, warning } = read("client-cidrs", value);
    expect(warning).toContain("client-cidrs, allowing nothing");
    for (const client of ["10.0.0.1", "::1", "fe80::1", ""]) expect(policy?.allowedClients?.has(client)).toBe(false);
  });

  test("readPolicy allows no client for 65 ranges", () => {
    const { policy } = read(
      "client-cidrs",
      many(65, (at) => `10.0.0.${at}`),
    );
    expect(policy?.allowedClients?.has("10.0.0.1")).toBe(false);
  });
});

describe("readPolicy: limits", () => {
  test.each([
    ["max-requests", "1", { maxRequests: 1 }],
    ["max-requests", "1000000000", { maxRequests: 1_000_000_000 }],
    ["rate", "100/s", { rate: { burst: 100, leakMs: 10 } }],
    ["rate", "1/h", { rate: { burst: 1, leakMs: 3_600_000 } }],
    ["rate", "1000000/s", { rate: { burst: 1_000_000, leakMs: 0.001 } }],
    ["max-body-size", "1", { maxBodyBytes: 1 }],
    ["max-body-size", "10MiB", { maxBodyBytes: 10_485_760 }],
    ["response-timeout", "30s", { responseTimeoutMs: 30_000 }],
    ["response-timeout", "1ns", { responseTimeoutMs: 1 }],
    ["stream-idle-timeout", "5m", { streamIdleTimeoutMs: 300_000 }],
  ])("readPolicy takes %s of %s", (name, value, policy) => {
    expect(read(name, value)).toEqual({ policy, warning: undefined });
  });

  test.each<[string, readonly unknown[]]>([
    ["max-requests", ["", "0", "-1", "1.5", "1e3", "01", "1000000001", "١", "many", 5, null]],
    [
      "rate",
      ["", "100", "/s", "0/s", "-1/s", "1000001/s", "1.5/s", "1/ms", "1/d", "1 /s", "1/s ", "１/s", "1/s/s", 100, null],
    ],
    ["max-body-size", ["", "0", "-1", "1.5MiB", "10 MiB", "1XB", "99999999999999999TiB", "１", 10, null]],
    ["response-timeout", ["", "0", "0s", "-1s", "30", "25d", "9999999h", "١s", 30, null]],
    ["stream-idle-timeout", ["", "0", "0s", "-1s", "30", "1s".repeat(100_000), 30, null]],
  ])("readPolicy leaves the flag's value for an invalid %s", (name, values) => {
    for (const value of values) {
      const { policy, warning } = read(name, value);
      expect(warning).toContain(`invalid annotation ${P}${name}, using the default: expected`);
      expect(policy).toEqual({ fault: warning ?? "missing" });
    }
  });

  test("readPolicy names first what allows nothing", () => {
    const annotations: Record<string, unknown> = {};
    for (let at = 0; at < 10; at++) annotations[`${P}unknown-${at}`] = "x";
    const { warning } = readPolicy({ ...annotations, [`${P}allowed-ports`]: "x", [`${P}allowed-port`]: "80" });
    expect(warning).toStartWith(`invalid annotation ${P}allowed-ports, allowing nothing`);
  });
});

describe("readPolicy: blanks", () => {
  test.each(["allowed-ports", "allowed-methods", "allowed-origins", "client-cidrs"])(
    "readPolicy takes no longer for blanks within an item of %s, so that a sandbox cannot hold up others",
    (name) => {
      const hostile = `a${" ".repeat(4_090)}b`;
      // A thousand of what takes a hundredth of a second do not end in time.
      for (let times = 0; times < 1_000; times++) expect(read(name, hostile).warning).toBeDefined();
    },
  );
});
