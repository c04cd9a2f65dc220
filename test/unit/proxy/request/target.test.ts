import { describe, expect, test } from "bun:test";
import { createRandom } from "../../../../scripts/lib/stage/random.ts";
import { IngressError } from "../../../../src/errors.ts";
import { parseHost, parseRequestTarget } from "../../../../src/proxy/request/target.ts";

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof IngressError) return error.code;
    throw error;
  }
  return "no error";
}

describe("parseRequestTarget", () => {
  test.each([
    ["http://a.test/x/y?z=1", "/x/y", "?z=1"],
    ["http://a.test:28888/", "/", ""],
    ["http://[::1]:1/x?", "/x", "?"],
    ["/x?a?b", "/x", "?a?b"],
    ["/a/../b/%2e%2E/c\\d?e=/../f", "/c/d", "?e=/../f"],
    ["//x/./y?", "//x/y", "?"],
    ["http://a//x", "//x", ""],
  ])("parseRequestTarget splits %s", (url, path, query) => {
    expect(parseRequestTarget(url)).toEqual({ path, query });
  });

  test("parseRequestTarget refuses a fragment, in the path and in the query", () => {
    expect(codeOf(() => parseRequestTarget("http://a/x#y"))).toBe("request_invalid");
    expect(codeOf(() => parseRequestTarget("http://a/x?y#z"))).toBe("request_invalid");
    expect(codeOf(() => parseRequestTarget("/x?y#z"))).toBe("request_invalid");
  });
});

describe("parseHost", () => {
  test.each(["a", "a.test", "A-b_c~1.test:28888", "[::1]", "[fd00::1]:80", "10.0.0.1:1", "a:"])(
    "parseHost accepts %s",
    (host) => expect(parseHost(host)).toBe(host),
  );

  test("parseHost treats an empty Host like a missing one", () => {
    expect(parseHost(undefined)).toBe("");
    expect(parseHost("")).toBe("");
  });

  test.each([
    "a, b",
    "u@evil",
    "a/b",
    "a?b",
    "a:b",
    "a:1:2",
    ":80",
    "[::1",
    "[x]",
    "[::1]x",
    "a b",
    "a%2e",
    "a:123456",
    "é",
    "a:65536",
    "[:::]",
    "[1.2.3.4]",
    "1.2.3.4.5",
    "a.999",
    "xn--a",
  ])("parseHost refuses %j", (host) => expect(codeOf(() => parseHost(host))).toBe("host_invalid"));

  test("parseHost accepts nothing that is not the host of a URL: there Bun would not normalise the path", () => {
    const random = createRandom(20_261_126);
    const hosts = Array.from({ length: 20_000 }, () => random.text("aZxX019.-_~:[]f", 1 + random.integer(9)));
    const accepted = hosts.filter((host) => codeOf(() => parseHost(host)) === "no error");
    expect(accepted.length).toBeGreaterThan(1_000);
    expect(accepted.filter((host) => !URL.canParse(`http://${host}/`))).toEqual([]);
  });
});
