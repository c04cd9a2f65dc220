import { describe, expect, test } from "bun:test";
import { toIngressError, type IngressErrorCode } from "../../../src/errors.ts";
import { parseRoute } from "../../../src/route/parse-route.ts";
import type { Route, RouteMode } from "../../../src/route/route.ts";

const SIGNATURE = { expiresB36: "x2qxvk", signature: "01086ceca" } as const;
const LONGEST_ID = "a".repeat(253);

interface Request {
  readonly to?: string;
  readonly deprecated?: string;
  readonly host?: string;
  readonly path?: string;
}

function parse(request: Request, mode: RouteMode): Route {
  const headers = new Headers();
  if (request.to !== undefined) headers.set("OpenSandbox-Ingress-To", request.to);
  if (request.deprecated !== undefined) headers.set("OPEN-SANDBOX-INGRESS", request.deprecated);
  return parseRoute({ path: request.path ?? "/", headers, host: request.host ?? "" }, mode);
}

function codeOf(request: Request, mode: RouteMode): IngressErrorCode | "parsed" {
  try {
    parse(request, mode);
    return "parsed";
  } catch (thrown) {
    return toIngressError(thrown).code;
  }
}

describe("parseRoute in header mode", () => {
  test("parseRoute takes id and port from the header, as sent", () => {
    expect(parse({ to: "My-Box-8080", path: "/a//b" }, "header")).toEqual({
      form: "header",
      sandboxId: "My-Box",
      port: 8080,
      path: "/a//b",
      signature: undefined,
      signedPath: "/a//b",
      prefix: "",
    });
  });

  test("parseRoute takes id and port from the Host, lower-cased", () => {
    expect(parse({ host: "Alpha-Beta-8080.Sandbox.Test", path: "/x" }, "header")).toEqual({
      form: "host",
      sandboxId: "alpha-beta",
      port: 8080,
      path: "/x",
      signature: undefined,
      signedPath: "/x",
      prefix: "",
    });
  });

  test("parseRoute reads a signed header", () => {
    expect(parse({ to: "my-sandbox-8080-x2qxvk-01086ceca", path: "/x" }, "header")).toEqual({
      form: "header",
      sandboxId: "my-sandbox",
      port: 8080,
      path: "/x",
      signature: SIGNATURE,
      signedPath: "/x",
      prefix: "",
    });
  });

  test("parseRoute reads a signed Host in upper and lower case", () => {
    for (const host of ["my-sandbox-8080-x2qxvk-01086ceca.x.test", "MY-SANDBOX-8080-X2QXVK-01086CECA.X.TEST:443"]) {
      const route = parse({ host }, "header");
      expect(route).toMatchObject({ form: "host", sandboxId: "my-sandbox", port: 8080, signature: SIGNATURE });
    }
  });

  test("parseRoute prefers the header to its deprecated spelling, and both to the Host", () => {
    const all = { to: "one-1", deprecated: "two-2", host: "three-3.test" };
    expect(parse(all, "header")).toMatchObject({ form: "header", sandboxId: "one" });
    expect(parse({ ...all, to: " " }, "header")).toMatchObject({ form: "header", sandboxId: "two" });
    expect(parse({ ...all, to: "", deprecated: "" }, "header")).toMatchObject({ form: "host", sandboxId: "three" });
  });

  test("parseRoute does not fall through an invalid header to the next place", () => {
    expect(codeOf({ to: "bad", deprecated: "two-2", host: "three-3.test" }, "header")).toBe("route_invalid");
    expect(codeOf({ deprecated: "bad", host: "three-3.test" }, "header")).toBe("route_invalid");
  });

  test.each([
    ["sb-80", "sb", 80],
    ["sb-80.domain", "sb", 80],
    ["sb-80:28888", "sb", 80],
    ["sb-80.domain.test:28888", "sb", 80],
    ["http://sb-80", "sb", 80],
    ["https://sb-80.domain:443", "sb", 80],
    ["HTTPS://sb-80.domain", "sb", 80],
    ["https://sb-80.domain/path?x#y", "sb", 80],
    ["alpha-beta-8080.sandbox.test", "alpha-beta", 8080],
    ["7ed601a4-bd34-4f63-9eac-9792848e73ed-44772.x", "7ed601a4-bd34-4f63-9eac-9792848e73ed", 44772],
    ["sb-80.!~", "sb", 80],
    [" \t sb-80.domain \t ", "sb", 80],
    ["\thttps://sb-80\t", "sb", 80],
    ["sb-1", "sb", 1],
    ["sb-65535", "sb", 65535],
    ["1234-80", "1234", 80],
    ["!!!-80", "!!!", 80],
    ["http-80", "http", 80],
    ["https-80.x", "https", 80],
    ["a--80", "a-", 80],
    ["--80", "-", 80],
    [`${LONGEST_ID}-80`, LONGEST_ID, 80],
  ])("parseRoute reads %p in header and Host alike", (value, sandboxId, port) => {
    expect(parse({ to: value }, "header")).toMatchObject({ form: "header", sandboxId, port, signature: undefined });
    expect(parse({ host: value }, "header")).toMatchObject({ form: "host", sandboxId, port, signature: undefined });
  });

  test.each([
    ["sb-8080-0-01086ceca", "0"],
    ["sb-8080-3w5e11264sgsf-01086ceca", "3w5e11264sgsf"],
    ["sb-8080-zzzzzzzzzzzz-01086ceca", "zzzzzzzzzzzz"],
  ])("parseRoute reads the expiry of %p", (to, expiresB36) => {
    expect(parse({ to }, "header").signature).toEqual({ expiresB36, signature: "01086ceca" });
  });

  test.each([
    ["-1234.x"],
    ["-1234"],
    ["sb-"],
    ["sb-0"],
    ["sb-65536"],
    ["sb-99999"],
    ["sb-100000"],
    ["sb-08080"],
    ["sb-+80"],
    ["sb-8a"],
    ["sb-80/x"],
    ["sb-80?x"],
    ["sb-80#x"],
    ["a/b-80"],
    ["a?b-80"],
    ["a#b-80"],
    ["a\\b-80"],
    ['a"b-80'],
    ["a%62-80"],
    ["u@sb-80"],
    ["a b-80"],
    ["a\tb-80"],
    ["sb-80, sb-80"],
    ["sb-80.x, sb-80.x"],
    ["sb-80:1,2"],
    ["sb-80.x y"],
    ["sb-80.x\ty"],
    ["sb-80.x\u007f"],
    ["sb-80.\u0001x"],
    ["sb-80.é"],
    ["é-80"],
    [`${LONGEST_ID}a-80`],
    // Signed, but for one part: what is left is no port.
    ["-8080-x2qxvk-01086ceca"],
    ["sb-08080-x2qxvk-01086ceca"],
    ["sb-0-x2qxvk-01086ceca"],
    ["sb-65536-x2qxvk-01086ceca"],
    ["8080-x2qxvk-01086ceca"],
    ["sb-8080--01086ceca"],
    ["sb-8080-0x2qxvk-01086ceca"],
    ["sb-8080-00-01086ceca"],
    ["sb-8080-3w5e11264sgsg-01086ceca"],
    ["sb-8080-10000000000000-01086ceca"],
    ["sb-8080-x2qxvk-01086cec"],
    ["sb-8080-x2qxvk-01086cecaa"],
    ["sb-8080-x2qxvk-g1086ceca"],
    ["sb-8080-x2qxvk-01086cec_"],
    ["sb-8080-x2_xvk-01086ceca"],
    [`${LONGEST_ID}a-8080-x2qxvk-01086ceca`],
  ])("parseRoute refuses %p in header and Host alike", (value) => {
    expect(codeOf({ to: value }, "header")).toBe("route_invalid");
    expect(codeOf({ host: value }, "header")).toBe("route_invalid");
  });

  test("parseRoute reads the credential of a header as sent: upper case is not one", () => {
    expect(codeOf({ to: "sb-8080-X2QXVK-01086ceca" }, "header")).toBe("route_invalid");
    expect(codeOf({ to: "sb-8080-x2qxvk-01086CECA" }, "header")).toBe("route_invalid");
    expect(codeOf({ to: "sb-8080-x2qxvk-01086cecA" }, "header")).toBe("route_invalid");
  });

  test.each([
    [""],
    [" "],
    ["invalidhost"],
    ["localhost:28888"],
    ["127.0.0.1:28888"],
    ["[::1]:28888"],
    ["[fe80::1-80]"],
  ])("parseRoute finds no route in Host %p and says what is expected", (host) => {
    expect(() => parse({ host }, "header")).toThrow(
      "no route in request; expected header OpenSandbox-Ingress-To: <sandbox-id>-<port>, or Host: <sandbox-id>-<port>.<domain>",
    );
    expect(codeOf({ host }, "header")).toBe("route_missing");
  });

  test.each([["invalidhost"], ["http://"], ["http:"], ["[::1]"]])("parseRoute refuses a header %p", (to) => {
    expect(codeOf({ to, host: "sb-80.test" }, "header")).toBe("route_invalid");
  });

  test("parseRoute ignores the path in header mode", () => {
    expect(codeOf({ path: "/sb/80/x" }, "header")).toBe("route_missing");
  });

  test("parseRoute repeats no part of the request", () => {
    for (const request of [{ to: "secret-marker" }, { host: "secret-marker.test" }]) {
      expect(() => parse(request, "header")).not.toThrow("marker");
      expect(codeOf(request, "header")).toBe("route_invalid");
    }
  });
});

describe("parseRoute in URI mode", () => {
  test.each([
    ["/sb/80", "/"],
    ["/sb/80/", "/"],
    ["/sb/80/x", "/x"],
    ["/sb/80/x/", "/x/"],
    ["/sb/80//x", "//x"],
    ["/sb/80/a%2Fb/%20", "/a%2Fb/%20"],
    ["/sb/80/sb/80", "/sb/80"],
  ])("parseRoute forwards of %p the path %p", (path, rest) => {
    expect(parse({ path }, "uri")).toEqual({
      form: "uri",
      sandboxId: "sb",
      port: 80,
      path: rest,
      signature: undefined,
      signedPath: rest,
      prefix: "/sb/80",
    });
  });

  test.each([
    ["", "/"],
    ["/", "/"],
    ["/x", "/x"],
    ["//x", "//x"],
    ["/x2qxvk/01086ceca", "/x2qxvk/01086ceca"],
  ])("parseRoute gives both paths when %p follows the credential", (tail, signedPath) => {
    expect(parse({ path: `/my-sandbox/8080/x2qxvk/01086ceca${tail}` }, "uri")).toEqual({
      form: "uri",
      sandboxId: "my-sandbox",
      port: 8080,
      path: `/x2qxvk/01086ceca${tail}`,
      signature: SIGNATURE,
      signedPath,
      prefix: "/my-sandbox/8080",
    });
  });

  test.each([
    ["/x2qxvk/01086cec"],
    ["/x2qxvk/01086cecaa"],
    ["/x2qxvk/01086CECa"],
    ["/X2QXVK/01086ceca"],
    ["/0x2qxvk/01086ceca"],
    ["/3w5e11264sgsg/01086ceca"],
    ["/10000000000000/01086ceca"],
    ["//01086ceca"],
    ["/x2qxvk//01086ceca"],
    ["/x2qxvk"],
    ["/x2qxvk/"],
    ["/x/x2qxvk/01086ceca"],
  ])("parseRoute takes %p for an ordinary path", (rest) => {
    expect(parse({ path: `/sb/80${rest}` }, "uri")).toMatchObject({
      path: rest,
      signature: undefined,
      signedPath: rest,
    });
  });

  test.each([
    ["/My.Box/80", "My.Box"],
    ["/!!!/80", "!!!"],
    ["/1234/80", "1234"],
    [`/${LONGEST_ID}/80`, LONGEST_ID],
  ])("parseRoute takes the id of %p as sent", (path, sandboxId) => {
    expect(parse({ path }, "uri").sandboxId).toBe(sandboxId);
  });

  test.each([[""], ["/"], ["*"], ["sb/80"]])(
    "parseRoute finds no route in path %p and says what is expected",
    (path) => {
      expect(() => parse({ path }, "uri")).toThrow("no route in request; expected path /<sandbox-id>/<port>/<rest>");
      expect(codeOf({ path }, "uri")).toBe("route_missing");
    },
  );

  test.each([
    ["/sb"],
    ["/sb/"],
    ["/sb//x"],
    ["//80/x"],
    ["//"],
    ["/sb/0/x"],
    ["/sb/65536/x"],
    ["/sb/08080/x"],
    ["/sb/8080x/x"],
    ["/sb/-1/x"],
    ["/sb/%38080/x"],
    ["/s%62/80/x"],
    ["/s b/80"],
    ["/s,b/80"],
    ["/s:b/80"],
    ["/s@b/80"],
    ["/é/80"],
    [`/${LONGEST_ID}a/80`],
  ])("parseRoute refuses path %p", (path) => {
    expect(codeOf({ path }, "uri")).toBe("route_invalid");
  });

  test("parseRoute ignores headers in URI mode", () => {
    expect(codeOf({ to: "sb-80", deprecated: "sb-80", host: "sb-80.test" }, "uri")).toBe("route_missing");
  });
});
