import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

import { Glob } from "bun";

import { formatDocuments } from "../../../scripts/lib/docs/documents.ts";
import { formatDefault } from "../../../scripts/lib/docs/format-flags.ts";
import { FLAGS, type FlagSpec } from "../../../src/config/flags.ts";
import { listErrorCodes } from "../../../src/errors.ts";

const ROOT = join(import.meta.dir, "../../..");
const README_MAX_LINES = 120;
const PICTURE_MAX_BYTES = 200_000;

const documents = ["*.md", "docs/**/*.md", "deploy/**/*.md", ".github/**/*.md"]
  .flatMap((pattern) => [...new Glob(pattern).scanSync({ cwd: ROOT, dot: true })])
  .toSorted((a, b) => a.localeCompare(b));
const read = (file: string): string => readFileSync(join(ROOT, file), "utf8");

/** The text without its code, where neither links nor headings are meant. */
function withoutCode(text: string): string {
  return text.replaceAll(/^```[\s\S]*?^```/gm, "");
}

/** Anchors of a document's headings, made as GitHub makes them. */
function anchorsOf(text: string): string[] {
  return [...withoutCode(text).matchAll(/^#+ +(.*)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

function brokenLinks(file: string): string[] {
  const links = [...withoutCode(read(file)).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = ""]) => link);
  return links.filter((link) => {
    if (/^[a-z]+:/.test(link)) return false;
    const [path = "", anchor] = link.split("#");
    const target = path === "" ? join(ROOT, file) : resolve(ROOT, dirname(file), path);
    if (!existsSync(target)) return true;
    return anchor !== undefined && !anchorsOf(readFileSync(target, "utf8")).includes(anchor);
  });
}

describe("documents", () => {
  test("documents: the README, the folder docs and deploy are checked", () => {
    expect(documents).toContain("README.md");
    expect(documents).toContain("docs/contract.md");
    expect(documents).toContain("docs/upstream/README.md");
    expect(documents).toContain("deploy/README.md");
  });

  test.each(documents)("links: each relative link and anchor of %s leads somewhere", (file) => {
    expect(brokenLinks(file)).toEqual([]);
  });

  test.each(formatDocuments())("documents: $path is what ./scripts/docs writes", ({ path, text }) => {
    expect(read(path)).toBe(text);
  });

  test("pictures: each of docs/images is shown in a document, and has at most 200 KB", () => {
    const pictures = [...new Glob("docs/images/*").scanSync({ cwd: ROOT })];
    const all = documents.map(read).join("\n");
    expect(pictures.length).toBeGreaterThan(0);
    for (const picture of pictures) {
      expect(all).toContain(`](${picture.slice("docs/".length)})`);
      expect(statSync(join(ROOT, picture)).size).toBeLessThanOrEqual(PICTURE_MAX_BYTES);
    }
  });

  test("docs/errors.md has every code", () => {
    for (const code of listErrorCodes()) expect(read("docs/errors.md")).toContain(code);
  });

  test("docs/flags.md lists every flag with its default and meaning, in the order of --help, and no other", () => {
    const text = read("docs/flags.md").replaceAll(/\n {2}/g, " ");
    const rows = [...text.matchAll(/^- `--([^`]*)`(?: \(default (.*?)\))?: (.*)\.$/gm)].map(
      ([, name = "", shown = "", help = ""]) => [name, shown, help],
    );
    const expected = FLAGS.map((flag: FlagSpec) => [
      "valueName" in flag ? `${flag.name} <${flag.valueName}>` : flag.name,
      formatDefault(flag),
      flag.help,
    ]);
    expect(rows).toEqual(expected);
  });

  test("README names ten flags with the defaults that they have, in at most 120 lines", () => {
    const readme = read("README.md");
    const rows = [...readme.matchAll(/^\| `--([^`]*)` +\| (.*?) *\| .*\|$/gm)];
    expect(rows).toHaveLength(10);
    const flags: readonly FlagSpec[] = FLAGS;
    for (const [, name, shown] of rows) {
      const flag = flags.find((one) => one.name === name);
      expect([name, shown]).toEqual([name, flag === undefined ? "missing" : formatDefault(flag)]);
    }
    expect(readme.trimEnd().split("\n").length).toBeLessThanOrEqual(README_MAX_LINES);
  });
});
