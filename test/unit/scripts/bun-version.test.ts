import { expect, test } from "bun:test";
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tempDir } from "../../support/temp-dir.ts";

const ROOT = join(import.meta.dir, "../../..");
const VERSION = readFileSync(join(ROOT, ".bun-version"), "utf8").trim();

const keysOf = (value: unknown): string[] => (typeof value === "object" && value !== null ? Object.keys(value) : []);

test(".bun-version is an exact version", () => {
  expect(VERSION).toMatch(/^\d+\.\d+\.\d+$/);
});

test("package.json has the types of the Bun in .bun-version, and names it to package managers", async () => {
  const manifest: unknown = await Bun.file(join(ROOT, "package.json")).json();
  expect(manifest).toMatchObject({
    packageManager: `bun@${VERSION}`,
    engines: { bun: VERSION },
    devDependencies: { "bun-types": VERSION },
  });
});

test("package.json has the commands that newcomers try, and does not hide a command of Bun", async () => {
  const manifest: unknown = await Bun.file(join(ROOT, "package.json")).json();
  const names = keysOf(typeof manifest === "object" && manifest !== null && Reflect.get(manifest, "scripts"));
  const tried = ["start", "dev", "build", "test", "test:unit", "test:integration", "test:e2e"];
  for (const name of [...tried, "types", "lint", "format", "bench"]) expect(names).toContain(name);
  for (const hiding of ["check", "fmt", "install", "add", "publish"]) expect(names).not.toContain(hiding);
});

test("scripts/bun-integrity.txt pins each platform that a script can ask for, once, with a SHA-512", () => {
  const lines = readFileSync(join(ROOT, "scripts/bun-integrity.txt"), "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  for (const line of lines) expect(line).toMatch(/^[a-z0-9-]+ +sha512-[A-Za-z0-9+/]{86}==$/);
  const platforms = lines.map((line) => line.split(" ")[0]);
  const expected = [
    "linux-x64",
    "linux-aarch64",
    "linux-x64-musl",
    "linux-aarch64-musl",
    "darwin-x64",
    "darwin-aarch64",
  ];
  expect(new Set(platforms)).toEqual(new Set(expected));
  expect(platforms).toHaveLength(expected.length);
  expect(new Set(lines.map((line) => line.split(" ").at(-1))).size).toBe(lines.length);
});

test("bunfig.toml lets no package run code when it is installed", async () => {
  using dir = tempDir();
  cpSync(join(ROOT, "bunfig.toml"), join(dir.path, "bunfig.toml"));
  mkdirSync(join(dir.path, "eager"));
  const scripts = { preinstall: "touch ../ran", install: "touch ../ran", postinstall: "touch ../ran" };
  writeFileSync(join(dir.path, "eager/package.json"), JSON.stringify({ name: "eager", version: "1.0.0", scripts }));
  const project = { private: true, dependencies: { eager: "file:./eager" }, trustedDependencies: ["eager"] };
  writeFileSync(join(dir.path, "package.json"), JSON.stringify(project));
  const install = Bun.spawn([process.execPath, "install"], { cwd: dir.path, stdout: "ignore", stderr: "ignore" });
  expect(await install.exited).toBe(0);
  expect([...new Bun.Glob("**/ran").scanSync({ cwd: dir.path })]).toEqual([]);
});

test("no file that builds or tests repeats the version in .bun-version", () => {
  const patterns = [
    "Dockerfile",
    ".dockerignore",
    ".ci/*",
    ".github/workflows/*",
    "scripts/*",
    "scripts/lib/**",
    "*.toml",
    "tsconfig.json",
  ];
  const paths = patterns.flatMap((pattern) => [...new Bun.Glob(pattern).scanSync({ cwd: ROOT, dot: true })]);
  expect(paths).toContain("Dockerfile");
  expect(paths).toContain(join(".github", "workflows", "ci.yml"));
  const repeating = paths.filter((path) => readFileSync(join(ROOT, path), "utf8").includes(VERSION));
  expect(repeating).toEqual([]);
});
