import { describe, expect, test } from "bun:test";

import { batchSandbox } from "../../../../scripts/lib/stage/sandbox-objects.ts";
import { readPolicy } from "../../../../src/sandbox/projection/annotations.ts";
import { projectBatchSandbox } from "../../../../src/sandbox/projection/batch-sandbox.ts";
import { endpointRules } from "../../../../scripts/lib/stage/endpoint-rules.ts";

import { isObject } from "../../../../src/values.ts";

const P = "ingress.opensandbox.io/";

describe("readPolicy", () => {
  test("readPolicy returns no policy and no warning without an annotation for the ingress", () => {
    expect(readPolicy({ "opensandbox.io/secure-access-token": "t", "x/host-header": "preserve" })).toEqual({
      policy: undefined,
      warning: undefined,
    });
  });

  test.each([
    ["host-header", "hostHeader", ["upstream", "preserve", "localhost"]],
    ["origin-header", "originHeader", ["preserve", "upstream"]],
    ["uri-prefix", "uriPrefix", ["strip", "keep"]],
  ])("readPolicy takes every value of %s", (name, field, values) => {
    for (const value of values) {
      expect(readPolicy({ [P + name]: value })).toEqual({ policy: { [field]: value }, warning: undefined });
    }
  });

  test.each([
    ["hold-until-ready", "30s", { holdMs: 30_000 }],
    ["hold-until-ready", "1m30s", { holdMs: 90_000 }],
    ["hold-until-ready", "0", { holdMs: 0 }],
    ["hold-until-ready", "10m", { holdMs: 600_000 }],
    ["wake-on-access", "true", { wakesOnAccess: true }],
    ["wake-on-access", "false", { wakesOnAccess: false }],
  ])("readPolicy takes %s of %s", (name, value, policy) => {
    expect(readPolicy({ [P + name]: value })).toEqual({ policy, warning: undefined });
  });

  test.each([
    ["hold-until-ready", "10m1s"],
    ["hold-until-ready", "-1s"],
    ["hold-until-ready", "30"],
    ["hold-until-ready", "1".repeat(100_000)],
    ["hold-until-ready", 30],
    ["wake-on-access", "yes"],
    ["wake-on-access", true],
  ])("readPolicy keeps the default for a %s that is invalid", (name, value) => {
    const { policy, warning } = readPolicy({ [P + name]: value });
    expect(policy).toEqual({ fault: warning ?? "missing" });
    expect(warning).toContain(`invalid annotation ${P}${name}, using the default`);
  });

  test.each(["Preserve", " preserve", "", "constructor", 1, null, undefined, {}, [["preserve"]]])(
    "readPolicy keeps the default for the value %j, and the other annotations",
    (value) => {
      const { policy, warning } = readPolicy({ [`${P}host-header`]: value, [`${P}uri-prefix`]: "keep" });
      expect(policy).toEqual({ uriPrefix: "keep", fault: warning ?? "missing" });
      expect(warning).toContain(`${P}host-header, using the default: expected upstream or preserve or localhost`);
    },
  );

  test.each(["", "hostheader", "constructor", "__proto__x", "a\nb\u001b"])(
    "readPolicy warns of the unknown name %j",
    (name) => {
      const { policy, warning } = readPolicy({ [P + name]: "x" });
      expect(policy).toEqual({ fault: warning ?? "missing" });
      expect(warning).toStartWith("unknown annotation ");
      expect(warning).not.toMatch(/\p{Cc}/u);
    },
  );

  test("readPolicy names few of many faults", () => {
    const annotations: Record<string, unknown> = {};
    for (let i = 0; i < 2_000; i++) annotations[`${P}${"n".repeat(300)}${i}`] = "x";
    const { warning = "" } = readPolicy(annotations);
    expect(warning.length).toBeLessThan(600);
    expect(warning).toEndWith("and 1996 more");
  });
});

test("projectBatchSandbox puts the policy into the record, which stays ready despite an invalid annotation", () => {
  const object = batchSandbox();
  const { metadata } = object;
  if (!isObject(metadata) || !isObject(metadata["annotations"])) throw new Error("no annotations");
  Object.assign(metadata["annotations"], { [`${P}host-header`]: "preserve", [`${P}uri-prefix`]: "cut" });
  const { record, warning } = projectBatchSandbox(object, { endpoints: endpointRules() });
  expect(record).toMatchObject({ ready: true, policy: { hostHeader: "preserve" } });
  expect(warning).toContain(`${P}uri-prefix`);
});
