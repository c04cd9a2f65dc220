import { describe, expect, test } from "bun:test";
import { runDoctorCommand } from "../../src/commands/doctor-command.ts";
import type { Config } from "../../src/config/parse-config.ts";
import type { Finding } from "../../src/doctor/finding.ts";

const OK: Finding = { name: "port", state: "ok", detail: "free" };
const WARN: Finding = { name: "ipv6", state: "warn", detail: "none", remedy: "enable it" };
const FAIL: Finding = { name: "keys", state: "fail", detail: "bad\nline", remedy: "make some" };

function run(args: readonly string[], findings: readonly Finding[], seen: Config[] = []) {
  return runDoctorCommand(args, {
    environment: {},
    examine: (config) => {
      seen.push(config);
      return Promise.resolve(findings);
    },
  });
}

describe("runDoctorCommand", () => {
  test("runDoctorCommand prints one line for each finding, with its remedy, whatever the texts hold", async () => {
    const result = await run(["--namespace=a"], [OK, WARN, FAIL]);
    expect(result.stdout).toBe(
      "ok    port  free\nwarn  ipv6  none. Remedy: enable it\nFAIL  keys  bad\\u000aline. Remedy: make some\n",
    );
    expect(result.exitCode).toBe(1);
  });

  test.each(["Unable to connect.", "Is it there?", "No!", "waiting…"])(
    "runDoctorCommand adds no second full stop to the detail %j",
    async (detail) => {
      const { stdout } = await run(["--namespace=a"], [{ ...WARN, detail }]);
      expect(stdout).toBe(`warn  ipv6  ${detail} Remedy: enable it\n`);
    },
  );

  test("runDoctorCommand exits with 0 if nothing failed", async () => {
    expect((await run(["--namespace=a"], [OK, WARN])).exitCode).toBe(0);
  });

  test("runDoctorCommand prints JSON with --json, anywhere among the flags", async () => {
    for (const args of [
      ["--json", "--namespace=a"],
      ["--namespace=a", "-json"],
    ]) {
      const { stdout, exitCode } = await run(args, [OK, WARN]);
      expect(JSON.parse(stdout)).toEqual({ ok: true, findings: [OK, WARN] });
      expect(exitCode).toBe(0);
    }
    expect(JSON.parse((await run(["--json", "--namespace=a"], [FAIL])).stdout)).toMatchObject({ ok: false });
  });

  test("runDoctorCommand takes the flags of the ingress", async () => {
    const seen: Config[] = [];
    await run(["-namespace", "a,b", "--port=1234"], [], seen);
    expect(seen).toMatchObject([{ namespaces: ["a", "b"], port: 1234 }]);
  });

  test.each([[["--nope"]], [[]], [["--version"]], [["sign"]], [["doctor"]]])(
    "runDoctorCommand refuses the command line %j with exit code 2",
    async (args) => {
      const seen: Config[] = [];
      const { stdout, stderr, exitCode } = await run(args, [], seen);
      expect([stdout, exitCode, seen]).toEqual(["", 2, []]);
      expect(stderr).toContain("Usage: ingress doctor");
    },
  );

  test("runDoctorCommand explains itself", async () => {
    const { stdout, exitCode } = await run(["--help"], []);
    expect(stdout).toContain("Usage: ingress doctor");
    expect(exitCode).toBe(0);
  });
});
