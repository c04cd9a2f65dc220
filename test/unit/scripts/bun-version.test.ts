import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "../../..");
const VERSION = readFileSync(join(ROOT, ".bun-version"), "utf8").trim();

test(".bun-version is an exact version", () => {
  expect(VERSION).toMatch(/^\d+\.\d+\.\d+$/);
});

test("package.json has the types of the Bun in .bun-version", async () => {
  const manifest: unknown = await Bun.file(join(ROOT, "package.json")).json();
  expect(manifest).toMatchObject({ devDependencies: { "bun-types": VERSION } });
});

test("nothing that builds or tests repeats what .bun-version says", () => {
  const patterns = [
    "Dockerfile",
    ".dockerignore",
    ".ci/*",
    ".github/workflows/*",
    "scripts/*",
    "*.toml",
    "tsconfig.json",
  ];
  const paths = patterns.flatMap((pattern) => [...new Bun.Glob(pattern).scanSync({ cwd: ROOT, dot: true })]);
  expect(paths).toContain("Dockerfile");
  expect(paths).toContain(join(".github", "workflows", "ci.yml"));
  const repeating = paths.filter((path) => readFileSync(join(ROOT, path), "utf8").includes(VERSION));
  expect(repeating).toEqual([]);
});
