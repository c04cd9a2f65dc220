import { expect, test } from "bun:test";
import { quote } from "../../../src/log/quote.ts";

test.each([
  [undefined, "(missing)"],
  [null, "null"],
  [7, "7"],
  [true, "true"],
  [[1], "(an array)"],
  [{ secret: "x" }, "(an object)"],
  ["text", '"text"'],
  ['a"b\n', String.raw`"a\"b\n"`],
  ["\u202e", String.raw`"\u202e"`],
  ["a".repeat(81), `"${"a".repeat(80)}…"`],
])("quote of %p is one short, printable line", (value, expected) => {
  expect(quote(value)).toBe(expected);
});
