import { describe, expect, test } from "bun:test";
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { requirePart } from "../support/requires.ts";
import { tempDir } from "../support/temp-dir.ts";

const ROOT = join(import.meta.dir, "../..");
const VERSION = readFileSync(join(ROOT, ".bun-version"), "utf8").trim();
const BASICS = [
  "bash",
  "sh",
  "env",
  "tr",
  "dirname",
  "basename",
  "uname",
  "mktemp",
  "mkdir",
  "mv",
  "chmod",
  "rm",
  "tail",
];

/** A checkout, its path with a space, with what `ensure_bun` reads, and a PATH that has nothing but some basic tools. */
function checkout() {
  const dir = tempDir();
  const root = join(dir.path, "a checkout");
  const tools = join(dir.path, "tools");
  mkdirSync(join(root, "scripts"), { recursive: true });
  mkdirSync(tools);
  for (const path of [".bun-version", "scripts/lib.sh", "scripts/bun-integrity.txt"])
    cpSync(join(ROOT, path), join(root, path));
  const probe = '. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"\nensure_bun\necho "$BUN"\nbun --version\n';
  writeFileSync(join(root, "scripts/probe"), `#!/usr/bin/env bash\n${probe}`);
  chmodSync(join(root, "scripts/probe"), 0o755);
  const addTool = (name: string) => symlinkSync(Bun.which(name) ?? "", join(tools, name));
  for (const name of BASICS) addTool(name);
  const addScript = (name: string, text: string) => {
    writeFileSync(join(tools, name), `#!/bin/sh\n${text}`);
    chmodSync(join(tools, name), 0o755);
  };
  const runProbe = (env: Record<string, string> = {}) => {
    const child = Bun.spawnSync([join(root, "scripts/probe")], {
      cwd: "/",
      env: { ...process.env, ...env, PATH: tools },
      stdout: "pipe",
      stderr: "pipe",
    });
    const [bun = "", version = ""] = child.stdout.toString().split("\n");
    return { exitCode: child.exitCode, bun, version, stderr: child.stderr.toString() };
  };
  /** Changes what each platform's package has to be. */
  const pinIntegrity = (change: (line: string) => string) => {
    const file = join(root, "scripts/bun-integrity.txt");
    writeFileSync(file, readFileSync(file, "utf8").split("\n").map(change).join("\n"));
  };
  return { root, addTool, pinIntegrity, addScript, runProbe, [Symbol.dispose]: () => dir[Symbol.dispose]() };
}

/** As Bun's npm packages name this machine, with glibc or macOS. */
function platformOf(): string {
  return `${process.platform}-${process.arch === "arm64" ? "aarch64" : process.arch}`;
}

const hasNpm = requirePart("npm", { get: "https://nodejs.org" });

describe("ensure_bun", () => {
  test("ensure_bun uses the machine's bun if its version is the pinned one", () => {
    using place = checkout();
    place.addScript("bun", `echo ${VERSION}`);
    const seen = place.runProbe();
    expect(seen).toMatchObject({ exitCode: 0, version: VERSION, stderr: "" });
    expect(seen.bun).toEndWith("/tools/bun");
    expect(existsSync(join(place.root, ".cache"))).toBe(false);
  });

  test("ensure_bun reports in one line what is missing without bun and npm", () => {
    using place = checkout();
    const { exitCode, stderr } = place.runProbe();
    expect(exitCode).not.toBe(0);
    expect(stderr).toStartWith("probe: neither bun nor npm is on PATH");
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  });

  test.skipIf(!hasNpm)("ensure_bun gets the pinned bun with npm, once, into the checkout's cache", () => {
    using place = checkout();
    place.addTool("node");
    place.addTool("npm");
    const first = place.runProbe();
    expect(first).toMatchObject({ exitCode: 0, version: VERSION });
    expect(first.bun).toStartWith(join(place.root, ".cache/"));
    const again = place.runProbe({ npm_config_registry: "http://127.0.0.1:9" });
    expect(again).toMatchObject({ exitCode: 0, version: VERSION, bun: first.bun, stderr: "" });
  });

  test("ensure_bun gets the pinned bun with a bun of another version", () => {
    using place = checkout();
    place.addScript("bun", `[ "$1" = --version ] && echo 0.0.1 || exec "${process.execPath}" "$@"`);
    const seen = place.runProbe();
    expect(seen).toMatchObject({ exitCode: 0, version: VERSION });
    expect(seen.bun).toStartWith(join(place.root, ".cache/"));
  });

  const another = (line: string) => line.replace(/sha512-..../, "sha512-AAAA");

  test.skipIf(!hasNpm)("ensure_bun refuses a bun with other bytes than the pinned ones from npm", () => {
    using place = checkout();
    place.addTool("node");
    place.addTool("npm");
    place.pinIntegrity(another);
    const { exitCode, stderr } = place.runProbe();
    expect(exitCode).not.toBe(0);
    expect(stderr).toContain("EINTEGRITY");
    expect(stderr).toContain("with the integrity in scripts/bun-integrity.txt");
    expect(existsSync(join(place.root, ".cache", `bun-${VERSION}-${platformOf()}`))).toBe(false);
  });

  test("ensure_bun refuses a bun with other bytes than the pinned ones", () => {
    using place = checkout();
    place.addScript("bun", `[ "$1" = --version ] && echo 0.0.1 || exec "${process.execPath}" "$@"`);
    place.pinIntegrity(another);
    const { exitCode, stderr } = place.runProbe();
    expect(exitCode).not.toBe(0);
    expect(stderr).toContain("ntegrity");
    expect(existsSync(join(place.root, ".cache", `bun-${VERSION}-${platformOf()}`))).toBe(false);
  });

  test("ensure_bun fetches nothing for a platform without a pinned integrity", () => {
    using place = checkout();
    place.addScript("bun", `[ "$1" = --version ] && echo 0.0.1 || exec "${process.execPath}" "$@"`);
    place.pinIntegrity(() => "");
    const { exitCode, stderr } = place.runProbe();
    expect(exitCode).not.toBe(0);
    expect(stderr).toContain(`scripts/bun-integrity.txt has no line for ${platformOf()}`);
  });

  test.skipIf(!hasNpm)("ensure_bun says what is missing when the registry cannot be reached", () => {
    using place = checkout();
    place.addTool("node");
    place.addTool("npm");
    const env = { npm_config_registry: "http://127.0.0.1:9", npm_config_fetch_retries: "0" };
    const { exitCode, stderr } = place.runProbe(env);
    expect(exitCode).not.toBe(0);
    expect(stderr).toContain(`cannot get Bun ${VERSION}`);
    expect(stderr).toContain("registry");
  });
});
