import { describe, expect, test } from "bun:test";
import { codeOf, isDnsLabel, isObject, messageOf, parsePort } from "../../src/values.ts";

describe("values", () => {
  test.each([
    [{}, true],
    [{ a: 1 }, true],
    [[], false],
    [null, false],
    [undefined, false],
    ["text", false],
    [() => 1, false],
  ])("isObject of %p is %p", (value, expected) => {
    expect(isObject(value)).toBe(expected);
  });

  test.each([
    ["a", true],
    ["0a-b9", true],
    ["a".repeat(63), true],
    ["a".repeat(64), false],
    ["", false],
    ["-a", false],
    ["a-", false],
    ["A", false],
    ["a.b", false],
    ["a\n", false],
  ])("isDnsLabel of %p is %p", (text, expected) => {
    expect(isDnsLabel(text)).toBe(expected);
  });

  test.each([
    ["1", 1],
    ["65535", 65_535],
    ["65536", undefined],
    ["0", undefined],
    ["080", undefined],
    ["+80", undefined],
    ["80\n", undefined],
    ["", undefined],
    ["123456", undefined],
  ])("parsePort of %p is %p", (text, expected) => {
    expect(parsePort(text)).toBe(expected);
  });

  test("messageOf and codeOf read errors, and any other thrown value", () => {
    const error = Object.assign(new Error("no such file"), { code: "ENOENT" });
    expect([messageOf(error), codeOf(error)]).toEqual(["no such file", "ENOENT"]);
    expect([messageOf("text"), codeOf("text")]).toEqual(["text", ""]);
    expect([messageOf(undefined), codeOf(undefined)]).toEqual(["undefined", ""]);
    expect(codeOf(new Error("without a code"))).toBe("");
  });
});
