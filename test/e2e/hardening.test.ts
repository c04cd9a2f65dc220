import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { findFreePort } from "../../scripts/lib/free-port.ts";
import { buildBinary } from "../support/binary.ts";
import { runToEnd, startIngressProcess } from "../../scripts/lib/ingress-process.ts";
import { requirePart } from "../support/requires.ts";
import { startSampleStage } from "../support/sample-manifests.ts";
import { tempDir } from "../support/temp-dir.ts";

let binary: string;
beforeAll(async () => {
  binary = await buildBinary();
});

/** A folder in which anything that Bun takes from a working folder leaves a file, `ran`. */
async function trapFolder() {
  const dir = tempDir();
  const ran = join(dir.path, "ran");
  await Bun.write(join(dir.path, "trap.ts"), `require("node:fs").writeFileSync(${JSON.stringify(ran)}, "");`);
  await Bun.write(join(dir.path, "bunfig.toml"), 'preload = ["./trap.ts"]\n');
  await Bun.write(join(dir.path, ".env"), "TRAP_FROM_DOTENV=1\n");
  await Bun.write(join(dir.path, "tsconfig.json"), "{ this is not JSON");
  await Bun.write(join(dir.path, "package.json"), "{ neither is this");
  return { path: dir.path, ran, [Symbol.dispose]: () => dir[Symbol.dispose]() };
}

describe("ingress", () => {
  test("the trap of these tests catches Bun itself", async () => {
    using trap = await trapFolder();
    for (const name of ["tsconfig.json", "package.json"]) rmSync(join(trap.path, name));
    await Bun.write(join(trap.path, "main.ts"), "console.log(process.env['TRAP_FROM_DOTENV']);");
    const { stdout } = await runToEnd([process.execPath, "main.ts"], { cwd: trap.path });
    expect({ stdout, ran: existsSync(trap.ran) }).toEqual({ stdout: "1\n", ran: true });
  });

  test("ingress executes nothing that its working folder's bunfig.toml names", async () => {
    await using stage = await startSampleStage();
    using trap = await trapFolder();
    await using ingress = await startIngressProcess(binary, [`--manifests=${stage.manifests}`], { cwd: trap.path });
    const response = await fetch(`${ingress.origin}/`, { headers: { "OpenSandbox-Ingress-To": stage.route } });
    expect({ status: response.status, ran: existsSync(trap.ran) }).toEqual({ status: 200, ran: false });
  });

  const hasProc = requirePart("/proc", { get: "Linux", isPresent: () => existsSync("/proc/self/environ") });
  test.skipIf(!hasProc)("ingress takes no variable from its working folder's .env", async () => {
    await using stage = await startSampleStage();
    using trap = await trapFolder();
    await using ingress = await startIngressProcess(binary, [`--manifests=${stage.manifests}`], { cwd: trap.path });
    const names = readFileSync(`/proc/${ingress.pid}/environ`, "utf8")
      .split("\0")
      .map((variable) => variable.split("=")[0]);
    // It starts itself again with its own environment and this variable: what it took from .env would be seen there.
    expect(names).toContain("BUN_CONFIG_MAX_HTTP_REQUESTS");
    expect(names).toContain("MIMALLOC_PURGE_DELAY");
    expect(names).not.toContain("TRAP_FROM_DOTENV");
  });

  test.each(["--preload", "--import", "--require"])("ingress executes nothing at BUN_OPTIONS=%s", async (option) => {
    using trap = await trapFolder();
    const env = { BUN_OPTIONS: `${option}=${join(trap.path, "trap.ts")}` };
    await runToEnd([binary, "--version"], { env });
    expect(existsSync(trap.ran)).toBe(false);
  });

  test("ingress refuses to start with BUN_INSPECT, which would evaluate what a debugger sends", async () => {
    const env = { BUN_INSPECT: `ws://127.0.0.1:${findFreePort()}/debug` };
    const { exitCode, stderr } = await runToEnd([binary, "--manifests=.", "--port=0", "--admin-port=0"], { env });
    expect(exitCode).not.toBe(0);
    expect(stderr).toContain("BUN_INSPECT cannot be used");
  });
});
