import { describe, expect, test } from "bun:test";
import { explainFault, KubeError, readKubeError, toKubeError, type KubeErrorKind } from "../../../src/kube/errors.ts";

const RESOURCE = { group: "g.example", version: "v1", plural: "things", namespace: "ns" };

describe("readKubeError", () => {
  test.each([
    [401, "unauthorized"],
    [403, "forbidden"],
    [404, "missing"],
    [410, "expired"],
    [429, "throttled"],
    [302, "refused"],
    [400, "refused"],
    [500, "server"],
    [504, "server"],
  ] satisfies [number, KubeErrorKind][])("takes %d for %s", async (status, kind) => {
    expect((await readKubeError(new Response("", { status }))).kind).toBe(kind);
  });

  test("knows a server that is behind the version asked for, of any age, from another 504", async () => {
    const causes = [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }];
    for (const [status, kind] of [
      [{ code: 504, message: "Timeout: …", details: { causes } }, "ahead"],
      [{ code: 504, message: "Timeout: Too large resource version: 9, current: 1" }, "ahead"],
      [
        { code: 504, message: "Timeout: request did not complete", details: { causes: [{ reason: "x" }, null] } },
        "server",
      ],
      [{ code: 504, details: { causes: "ResourceVersionTooLarge" } }, "server"],
      [{ code: 504, details: null }, "server"],
    ] as const) {
      expect((await readKubeError(Response.json(status, { status: 504 }))).kind).toBe(kind);
    }
    // What a person can put into an object's name is no cause.
    const body = { code: 404, message: 'things "Too large resource version" not found' };
    expect((await readKubeError(Response.json(body, { status: 404 }))).kind).toBe("missing");
  });

  test("has the message of the Status, or the first line of any other body, shortened", async () => {
    const messageOf = async (body: string) => (await readKubeError(new Response(body, { status: 500 }))).message;
    expect(await messageOf('{"kind":"Status","message":"etcd is away"}')).toBe("500 etcd is away");
    expect(await messageOf("<html>\n<body>")).toBe("500 <html>");
    expect(await messageOf('{"message":5}')).toBe('500 {"message":5}');
    expect(await messageOf("")).toBe("500");
    expect(await messageOf("500 internal\n")).toBe("500 internal");
    expect(await messageOf("x".repeat(1_000_000))).toHaveLength(305);
  });

  test("reads Retry-After only in seconds", async () => {
    const retryOf = async (value: string) => {
      const response = new Response("", { status: 429, headers: { "Retry-After": value } });
      return (await readKubeError(response)).retryAfterMs;
    };
    expect(await retryOf("3")).toBe(3000);
    for (const other of ["", "-1", "1.5", "Wed, 21 Oct 2015 07:28:00 GMT", "99999999999"]) {
      expect(await retryOf(other)).toBeUndefined();
    }
  });
});

describe("toKubeError", () => {
  test("keeps a KubeError and takes any other error for a failed connection", () => {
    const error = new KubeError("silent", "x");
    expect(toKubeError(error)).toBe(error);
    const reset = Object.assign(new TypeError("The socket connection was closed unexpectedly."), {
      code: "ECONNRESET",
    });
    expect(toKubeError(reset)).toMatchObject({
      kind: "unreachable",
      message: "ECONNRESET: The socket connection was closed unexpectedly.",
    });
    expect(toKubeError("text")).toMatchObject({ kind: "unreachable", message: "text" });
  });
});

describe("explainFault", () => {
  test("names verb, resource and place, and what to do", () => {
    const forbidden = new KubeError("forbidden", "403 no");
    expect(explainFault(forbidden, "list", RESOURCE)).toBe(
      'Kubernetes: cannot list things.g.example in namespace "ns": permission denied: grant get, list and watch on things ' +
        '(API group g.example) by a Role in namespace "ns" and its binding (403 no)',
    );
    expect(explainFault(forbidden, "watch", { ...RESOURCE, namespace: undefined })).toContain(
      "cannot watch things.g.example in all namespaces: permission denied: grant get, list and watch on things " +
        "(API group g.example) by a ClusterRole and its binding",
    );
    expect(explainFault(new KubeError("missing", "404"), "list", RESOURCE)).toContain(
      "install the CustomResourceDefinition things.g.example with version v1",
    );
    expect(explainFault(new KubeError("unauthorized", "401"), "list", RESOURCE)).toContain("check the token");
    expect(explainFault(new KubeError("credentials", "none found"), "list", RESOURCE)).toContain(
      "the credentials are not usable",
    );
    expect(explainFault(new KubeError("unreachable", "x"), "list", RESOURCE)).toEndWith(
      "no connection to the API server: x",
    );
  });
});
