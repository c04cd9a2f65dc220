import { expect, test } from "bun:test";
import { formatHealth } from "../../../src/admin/health.ts";

const GOOD = { name: "lifecycle", ok: true, detail: "" };
const BAD = { name: "sandboxes", ok: false, detail: "not synced:\nforbidden" };

test.each([
  [[GOOD], false, "ok"],
  [[], false, "ok"],
  [[GOOD], true, "[+]lifecycle ok\nreadyz check passed\n"],
  [[GOOD, BAD], false, "[+]lifecycle ok\n[-]sandboxes failed: not synced: forbidden\nreadyz check failed\n"],
] as const)("formatHealth of %j with verbose %j", (checks, verbose, text) => {
  expect(formatHealth("readyz", checks, { verbose })).toBe(text);
});
