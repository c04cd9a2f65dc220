import { beforeAll, describe, expect, mock, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { APPS } from "../../../scripts/lib/apps/app-parts.ts";
import { formatCells } from "../../support/apps/table.ts";
import type { AppUnderTest, RunningApp } from "../../support/apps/try-app.ts";
import { readTable } from "../../support/markdown-table.ts";

const ROOT = join(import.meta.dir, "../../..");

describe("docs/apps.md", () => {
  const tried: AppUnderTest<RunningApp>[] = [];
  beforeAll(async () => {
    // Only what the tests would try is read: nothing is started. `--isolate` keeps this from other files.
    void mock.module(join(ROOT, "test/support/apps/try-app.ts"), () => ({
      tryApp: (app: AppUnderTest<RunningApp>) => void tried.push(app),
    }));
    for (const { name } of APPS) await import(join(ROOT, `test/e2e/apps/${name}/${name}.test.ts`));
  });

  test("its table says what the tests of the applications find, in every form", () => {
    const expected = tried.map(({ name, title, rows }) => {
      const parts = APPS.find((app) => app.name === name);
      return [title ?? parts?.title ?? name, ...formatCells(rows)];
    });
    const table = readTable(readFileSync(join(ROOT, "docs/apps.md"), "utf8"));
    expect(table.map((cells) => cells.slice(0, 4))).toEqual(expected);
  });

  test("its table names notes that exist, and every note is named", () => {
    const text = readFileSync(join(ROOT, "docs/apps.md"), "utf8");
    const named = new Set(readTable(text).flatMap((cells) => (cells[4] ?? "").split(" ").filter(Boolean)));
    const notes = [...text.slice(text.indexOf("## Notes")).matchAll(/^(\d+)\. /gm)].map((match) => match[1] ?? "");
    expect([...named].toSorted()).toEqual(notes.toSorted());
  });
});

describe("formatCells", () => {
  const fails = /refused/;
  const use = () => Promise.resolve();
  test.each([
    ["nothing was tried", [{ form: "direct" }], ["-", "-", "-"]],
    ["nothing works", [{ form: "host", fails }], ["no", "-", "-"]],
    ["the defaults work", [{ form: "host" }, { form: "uri" }, { form: "keep" }], ["yes", "yes", "yes"]],
    [
      "settings work in any order of their rows",
      [
        { form: "host", settings: { "host-header": "preserve" } },
        { form: "host", settings: { "origin-header": "upstream" } },
        { form: "host", fails },
      ],
      ["O, P", "-", "-"],
    ],
    [
      "the application is told its prefix",
      [
        { form: "told", settings: { "origin-header": "upstream" } },
        { form: "uri", settings: { "origin-header": "upstream" } },
      ],
      ["-", "O, T+O", "-"],
    ],
    [
      "uses of their own count with a letter only",
      [
        { form: "uri", fails },
        { form: "uri", use },
        { form: "uri", use, letter: "page" },
      ],
      ["-", "page", "-"],
    ],
  ] as const)("where %s", (_, rows, cells) => {
    expect(formatCells(rows)).toEqual([...cells]);
  });

  test("refuses settings without a letter", () => {
    expect(() => formatCells([{ form: "host", settings: { "host-header": "localhost" } }])).toThrow("no letter");
  });
});
