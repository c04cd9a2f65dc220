import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { FLAGS, type FlagSpec } from "../../src/config/parse-config.ts";

const readme = readFileSync(join(import.meta.dir, "../../README.md"), "utf8");

/** Cells of the README's flag tables: flag with value, default, meaning. */
const rows = [...readme.matchAll(/^\| `--([^`]*)` +\| (.*?) +\| (.*?) +\|$/gm)].map((match) => [
  match[1],
  match[2],
  match[3],
]);

function defaultCell(flag: FlagSpec): string {
  if (flag.defaultText !== undefined) return flag.defaultText;
  return flag.default === "" ? "" : `\`${flag.default}\``;
}

test("README lists every flag with its default and meaning, in the order of --help, and no other", () => {
  const expected = FLAGS.map((flag) => [
    "valueName" in flag ? `${flag.name} <${flag.valueName}>` : flag.name,
    defaultCell(flag),
    flag.help,
  ]);
  expect(rows.map((row) => row.map((cell) => cell?.trim()))).toEqual(expected);
});
