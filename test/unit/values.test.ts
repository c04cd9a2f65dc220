import { describe, expect, test } from "bun:test";
import { codeOf, isDnsLabel, isObject, messageOf, parsePort, trimBlanks } from "../../src/values.ts";

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

  test.each([
    ["", ""],
    [" \t\n", ""],
    ["a", "a"],
    [" \ta b\n ", "a b"],
    ["\u00a0a\r", "\u00a0a\r"],
  ])("trimBlanks of %p is %p", (text, expected) => {
    expect(trimBlanks(text)).toBe(expected);
  });

  test("trimBlanks does not look at each blank in the middle for each other", () => {
    // What grows with their square takes minutes.
    const text = `a${" ".repeat(5_000_000)}b`;
    expect(trimBlanks(` ${text} `)).toBe(text);
  });
});
