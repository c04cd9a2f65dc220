import { beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { buildBinary } from "../support/binary.ts";
import { runToEnd } from "../../scripts/lib/ingress-process.ts";
import { tempDir } from "../support/temp-dir.ts";

const BUN_VERSION = readFileSync(join(import.meta.dir, "../../.bun-version"), "utf8").trim();

let binary: string;
beforeAll(async () => {
  binary = await buildBinary();
});

test("ingress --version prints the build metadata and exits with 0", async () => {
  const { exitCode, stdout, stderr } = await runToEnd([binary, "--version"]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  expect(stdout).toMatch(/\d+\.\d+\.\d+.*commit \S+, built \S+/);
  expect(stdout).toContain(`bun ${BUN_VERSION}`);
  expect(stdout).not.toContain("dev");
});

test.each(["--help", "-help", "-h"])("ingress %s prints the usage on stdout and exits with 0", async (flag) => {
  const { exitCode, stdout, stderr } = await runToEnd([binary, flag]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  for (const name of ["--namespace", "--provider-type", "--mode", "--port", "--log-level", "--manifests"]) {
    expect(stdout).toContain(name);
  }
});

test("ingress exits with 2 at an unknown flag, names it on stderr and prints nothing on stdout", async () => {
  const { exitCode, stdout, stderr } = await runToEnd([binary, "--namespace=a", "--no-such-flag=1"]);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
  expect(stderr).toContain("no-such-flag");
});

test("ingress reports all faults of a command line at once and exits with 2", async () => {
  const { exitCode, stderr } = await runToEnd([binary, "--namespace=a", "--port=70000", "--mode=sideways"]);
  expect(exitCode).toBe(2);
  expect(stderr).toContain("port");
  expect(stderr).toContain("mode");
});

test("ingress without a namespace, manifests or --all-namespaces exits with 2", async () => {
  const { exitCode, stderr } = await runToEnd([binary, "--port=0"]);
  expect(exitCode).toBe(2);
  expect(stderr).toContain("namespace");
});

test("ingress appends to a file that both its outputs are redirected to", async () => {
  using dir = tempDir();
  const path = join(dir.path, "out.txt");
  const script = '( echo before; "$0" --version; "$0" --no-such-flag; echo after ) >"$1" 2>&1';
  await runToEnd(["bash", "-c", script, binary, path]);
  const lines = readFileSync(path, "utf8").trim().split("\n");
  expect(lines.at(0)).toBe("before");
  expect(lines.at(1)).toContain("commit");
  expect(lines.at(2)).toContain("no-such-flag");
  expect(lines.at(-1)).toBe("after");
});
