import { expect, test } from "bun:test";

import { hasToken, isListTooLong, LIST_ELEMENTS_MAX } from "../../../../src/proxy/request/list-field.ts";

test("hasToken finds tokens in lists, in any case, and only whole ones", () => {
  expect(hasToken("keep-alive, Upgrade", "upgrade")).toBe(true);
  expect(hasToken(",\t close ,", "close")).toBe(true);
  expect(hasToken("websocket", "websocket")).toBe(true);
  expect(hasToken("upgrades", "upgrade")).toBe(false);
  expect(hasToken("", "upgrade")).toBe(false);
  expect(hasToken(undefined, "upgrade")).toBe(false);
});

test("hasToken reads only as many elements as a list may have", () => {
  expect(hasToken(`${",".repeat(LIST_ELEMENTS_MAX - 1)}close`, "close")).toBe(true);
  expect(hasToken(`${",".repeat(LIST_ELEMENTS_MAX)}close`, "close")).toBe(false);
});

test("isListTooLong counts elements, empty ones too", () => {
  expect(isListTooLong("")).toBe(false);
  expect(isListTooLong("a,".repeat(LIST_ELEMENTS_MAX - 1))).toBe(false);
  expect(isListTooLong("a,".repeat(LIST_ELEMENTS_MAX))).toBe(true);
});
