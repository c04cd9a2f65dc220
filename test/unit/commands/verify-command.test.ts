import { describe, expect, test } from "bun:test";
import { runVerifyCommand } from "../../../src/commands/verify-command.ts";
import { SIGNATURE_VECTORS } from "../../support/vectors.ts";

const NOW_MS = 1_900_000_000_000;
const KEY = "a=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const LABEL = "my-sandbox-8080-x2qxvk-01086ceca";
const PATH = "/my-sandbox/8080/x2qxvk/01086ceca";

const files: Readonly<Record<string, string>> = { "/keys": `# keys\n${KEY}\nb=AQID\n`, "/key-a": KEY.slice(2) };

function verifyAt(nowMs: number, ...args: readonly string[]) {
  return runVerifyCommand(args, {
    nowMs,
    readFile: (path) => {
      const text = files[path];
      if (text === undefined) throw new Error(`${path}: no such file`);
      return text;
    },
  });
}

const verify = (...args: readonly string[]) => verifyAt(NOW_MS, ...args);

describe("runVerifyCommand", () => {
  test("runVerifyCommand shows the parts of a valid route", () => {
    expect(verify(PATH, "--key", KEY)).toEqual({
      stdout: [
        "form     uri",
        "sandbox  my-sandbox",
        "port     8080",
        "expires  2033-05-18T03:33:20Z",
        "key id   a",
        "valid",
        "",
      ].join("\n"),
      stderr: "",
      exitCode: 0,
    });
  });

  test.each([
    [LABEL, "header"],
    [` ${LABEL}\n`, "header"],
    [`OpenSandbox-Ingress-To: ${LABEL}`, "header"],
    [`opensandbox-ingress-to:${LABEL}`, "header"],
    [`${LABEL}.example.com`, "host"],
    [`${LABEL.toUpperCase()}.EXAMPLE.COM:8443`, "host"],
    [`${LABEL}.example.com/some/path`, "host"],
    [`https://${LABEL}.example.com/some/path?x=1#y`, "host"],
    [`wss://${LABEL}.example.com/some/path`, "host"],
    [`https://gateway.example.com${PATH}/some/path?x`, "uri"],
    [`https://my-gateway.example.com${PATH}`, "uri"],
    [`https://gateway-1.example.com${PATH}`, "uri"],
    [`http://127.0.0.1:28888${PATH}/`, "uri"],
    [`http://[::1]:28888${PATH}/`, "uri"],
    [`localhost:28888${PATH}/`, "uri"],
    [PATH, "uri"],
    [`${PATH}/x/../y?z`, "uri"],
  ])("runVerifyCommand finds the route in %p", (text, form) => {
    const { stdout, exitCode } = verify(text, "--key", KEY);
    expect(stdout).toStartWith(`form     ${form}\nsandbox  my-sandbox\n`);
    expect(stdout).toEndWith("\nvalid\n");
    expect(exitCode).toBe(0);
  });

  test("runVerifyCommand reads keys inline, one from a file, or all from a file", () => {
    for (const keys of [["--key", KEY], ["--key", `b=AQID,${KEY}`], ["--key=a=@/key-a"], ["-keys-file", "/keys"]]) {
      expect(verify(LABEL, ...keys)).toEqual(verify(LABEL, "--key", KEY));
      expect(verify(...keys, LABEL)).toEqual(verify(LABEL, "--key", KEY));
    }
  });

  test("runVerifyCommand accepts every vector at the time of its expiry", () => {
    for (const { key, sandboxId, port, expires, expiresB36, signature } of SIGNATURE_VECTORS) {
      const nowMs = Math.min(Number(expires) * 1000, Number.MAX_SAFE_INTEGER);
      expect(verifyAt(nowMs, `/${sandboxId}/${port}/${expiresB36}/${signature}`, "--key", key).exitCode).toBe(0);
    }
  });

  test.each([
    ["my-sandbox-8080", "refused: the route is not signed"],
    ["/my-sandbox/8080/x2qxvk/01086cec/x", "refused: the route is not signed"],
    ["/my-sandbox/8080/x2qxvk/01086cecz/x", 'refused: key "z" is unknown: the known keys are a, b'],
    [`${LABEL.slice(0, -1)}b`, 'refused: the signature does not match: key "b" has a different secret'],
    ["my-sandbox-8081-x2qxvk-01086ceca", "refused: the signature does not match"],
    ["sandbox", "refused: invalid route: the port is missing"],
    ["my-sandbox", "refused: invalid route: the port must be"],
    ["my-sandbox.example.com", "refused: invalid route: the port must be"],
    ["localhost:28888", "refused: no route in request"],
    ["https://example.com/", "refused: no route in request"],
    ["https://example.com/my-sandbox/0/x", "refused: invalid route: the port must be"],
    ["http://", "refused: the text is not a URL"],
    ["a\nb-80-x2qxvk-01086ceca", "refused: "],
    ["", "refused: "],
  ])("runVerifyCommand says why %p is refused", (text, reason) => {
    const { stdout, stderr, exitCode } = verify(text, "--keys-file", "/keys");
    expect(stdout.split("\n").at(-2)).toStartWith(reason);
    expect(stderr).toBe("");
    expect(exitCode).toBe(1);
  });

  test("runVerifyCommand reports when a route expired, and its other faults", () => {
    const expired = verifyAt(2_000_000_001_000, LABEL, "--key", KEY);
    expect(expired.stdout).toEndWith("refused: the route has expired: it was valid until 2033-05-18T03:33:20Z\n");
    expect(expired.exitCode).toBe(1);
    const both = verifyAt(2_000_000_001_000, LABEL, "--key", "b=AQID").stdout;
    expect(both).toContain("refused: the route has expired");
    expect(both).toContain('refused: key "a" is unknown');
  });

  test("runVerifyCommand does not call a route valid without a key", () => {
    const { stdout, exitCode } = verify(LABEL);
    expect(stdout).toEndWith("refused: cannot check the signature: --key and --keys-file are missing\n");
    expect(exitCode).toBe(1);
  });

  test.each([
    [[], "expected one route"],
    [[LABEL, LABEL], "expected one route"],
    [[LABEL, "--key", KEY, "--keys-file", "/keys"], "give only one of them"],
    [[LABEL, "--key", "a=U0VDUkVU!"], "--key: Cannot parse access keys"],
    [[LABEL, "--keys-file", "/none"], "--keys-file: /none: no such file"],
    [[LABEL, "--token", "U0VDUkVU"], "unknown flag"],
    [[LABEL, "--key"], "--key: a value is missing"],
  ])("runVerifyCommand refuses the command line %p", (args, fault) => {
    const { stdout, stderr, exitCode } = verify(...args);
    expect(exitCode).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toStartWith("ingress verify: ");
    expect(stderr).toContain(fault);
    expect(stderr).toContain("Usage: ingress verify");
    expect(stderr).not.toContain("U0VD");
  });

  test("runVerifyCommand prints no secret, for any arguments", () => {
    const all = [
      verify(LABEL, "--key", KEY),
      verify(LABEL, "--key", "a=U0VDUkVU"),
      verify(LABEL, "--key", "b=U0VDUkVU"),
      verify("--key", "a=U0VDUkVU"),
    ];
    for (const { stdout, stderr } of all) expect(stdout + stderr).not.toMatch(/U0VD|AAEC|SECRET/);
  });

  test("runVerifyCommand prints its usage for --help", () => {
    expect(verify("--help")).toMatchObject({ exitCode: 0, stderr: "" });
    expect(verify("--help").stdout).toStartWith("Usage: ingress verify");
  });
});
