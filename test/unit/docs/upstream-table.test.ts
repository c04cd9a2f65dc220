import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { Glob, Transpiler } from "bun";

import { readTable } from "../../support/markdown-table.ts";

const ROOT = join(import.meta.dir, "../../..");
const FOLDER = join(ROOT, "docs/upstream");
/** Short enough to be read in an issue. */
const PROGRAM_MAX_LINES = 60;
const COLUMNS = 6;

const programs = [...new Glob("**/*.ts").scanSync(FOLDER)].toSorted((a, b) => a.localeCompare(b));
const rows = readTable(readFileSync(join(FOLDER, "README.md"), "utf8"));

describe("docs/upstream", () => {
  test("its table has every program once, and no other", () => {
    const names = rows.map(([link = ""]) => /^\[([a-z0-9-]+\.ts)\]\(\1\)$/.exec(link)?.[1] ?? `no program: ${link}`);
    expect(names.toSorted((a, b) => a.localeCompare(b))).toEqual(programs);
    expect(programs.length).toBeGreaterThan(10);
  });

  test.each(rows)("its table says everything about %s", (...cells) => {
    expect(cells).toHaveLength(COLUMNS);
    expect(cells.filter((cell) => cell === "")).toEqual([]);
    const [, , , , known = "", wayRound = ""] = cells;
    expect(known).toMatch(/#\d+|^None found/);
    expect(wayRound).toMatch(/\]\(\.\.\/[a-z]+\.md#[a-z0-9-]+\)$/);
    const files = [...wayRound.matchAll(/`(src\/[^`]+)`/g)].map(([, file = ""]) => file);
    expect(files.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
  });

  test.each(programs)("%s can go into an issue as it is", (program) => {
    const source = readFileSync(join(FOLDER, program), "utf8");
    const imports = new Transpiler({ loader: "ts" }).scanImports(source).map(({ path }) => path);
    expect(imports.filter((path) => !path.startsWith("node:"))).toEqual([]);
    expect(source.trimEnd().split("\n").length).toBeLessThanOrEqual(PROGRAM_MAX_LINES);
    expect(source).toMatch(/^\/\/ .*\.\n\/\/\n\/\/ Expected: [^]*?\n\/\/ What happens: [^]*?\n\/\/ What it costs: /);
  });
});
