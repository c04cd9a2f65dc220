import { describe, expect, test } from "bun:test";
import { parseAccessKeys } from "../../../src/access/keys.ts";
import { verifySignature } from "../../../src/access/signature.ts";
import { parseRoute } from "../../../src/route/parse-route.ts";
import type { Route } from "../../../src/route/route.ts";
import { runSignCommand } from "../../../src/commands/sign-command.ts";
import { SIGNATURE_VECTORS } from "../../support/vectors.ts";

const NOW_MS = 1_900_000_000_500;
const KEY = "a=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

const files: Readonly<Record<string, string>> = { "/keys/a": `${KEY.slice(2)}\n`, "/keys/bad": "U0VDUkVU!" };

function sign(...args: readonly string[]) {
  return runSignCommand(args, {
    nowMs: NOW_MS,
    readFile: (path) => {
      const text = files[path];
      if (text === undefined) throw new Error(`${path}: no such file`);
      return text;
    },
  });
}

/** The value that the output gives a label. */
function row(stdout: string, label: string): string {
  const line = stdout.split("\n").find((each) => each.startsWith(`${label} `));
  if (line === undefined) throw new Error(`no row ${label} in:\n${stdout}`);
  return line.slice(label.length).trim();
}

function parseHeaderRow(stdout: string): Route {
  const [name = "", value = ""] = row(stdout, "header").split(": ");
  return parseRoute({ path: "/", headers: new Headers({ [name]: value }), host: "" }, "header");
}

const REQUIRED = ["--key", KEY, "--id", "my-sandbox", "--port", "8080", "--expires", "2000000000"] as const;

/** The required flags, one of them with another value. */
function withFlag(name: string, value: string): string[] {
  return [...REQUIRED, name, value];
}

describe("runSignCommand", () => {
  test("runSignCommand prints the three forms of a signed route", () => {
    expect(sign(...REQUIRED)).toEqual({
      stdout: [
        "header   OpenSandbox-Ingress-To: my-sandbox-8080-x2qxvk-01086ceca",
        "host     my-sandbox-8080-x2qxvk-01086ceca.<domain>",
        "uri      /my-sandbox/8080/x2qxvk/01086ceca/",
        "expires  2033-05-18T03:33:20Z",
        "",
      ].join("\n"),
      stderr: "",
      exitCode: 0,
    });
  });

  test.each([
    ["https://example.com", "https://my-sandbox-8080-x2qxvk-01086ceca.example.com/", "https://example.com/my-sandbox/"],
    [
      "http://localhost:28888/",
      "http://my-sandbox-8080-x2qxvk-01086ceca.localhost:28888/",
      "http://localhost:28888/my-",
    ],
    ["https://example.com/in/", "https://my-sandbox-8080-x2qxvk-01086ceca.example.com/", "https://example.com/in/my-"],
  ])("runSignCommand prints whole URLs below --base %s", (base, host, uri) => {
    const { stdout, exitCode } = sign(...REQUIRED, `--base=${base}`);
    expect(exitCode).toBe(0);
    expect(row(stdout, "host")).toBe(host);
    expect(row(stdout, "uri")).toStartWith(uri);
    expect(row(stdout, "uri")).toEndWith("/my-sandbox/8080/x2qxvk/01086ceca/");
  });

  test.each([["http://127.0.0.1:28888"], ["http://[::1]:28888"]])(
    "runSignCommand leaves the host form out below the address %s, and says why",
    (base) => {
      const { stdout, stderr } = sign(...REQUIRED, "--base", base);
      expect(stdout).not.toContain("host ");
      expect(row(stdout, "uri")).toBe(`${base}/my-sandbox/8080/x2qxvk/01086ceca/`);
      expect(stderr).toContain("no host form: --base is an address");
    },
  );

  test("runSignCommand makes every vector", () => {
    for (const { key, sandboxId, port, expires, expiresB36, signature } of SIGNATURE_VECTORS) {
      const { stdout } = sign("-key", key, "-id", sandboxId, "-port", String(port), "-expires", expires);
      expect(row(stdout, "uri")).toBe(`/${sandboxId}/${port}/${expiresB36}/${signature}/`);
    }
  });

  test("runSignCommand reads the secret from a file", () => {
    expect(sign(...withFlag("--key", "a=@/keys/a"))).toEqual(sign(...REQUIRED));
  });

  test.each([
    ["1h", 1_900_003_601],
    ["90s", 1_900_000_091],
    ["500ms", 1_900_000_001],
    ["8760h", 1_931_536_001],
    ["2033-05-18T03:33:20Z", 2_000_000_000],
    ["2033-05-18t03:33:20z", 2_000_000_000],
    ["2033-05-18T05:33:20+02:00", 2_000_000_000],
    ["2033-05-18T03:33:19.5Z", 2_000_000_000],
    ["1970-01-01T00:00:00Z", 0],
    ["0", 0],
    ["1900000001", 1_900_000_001],
  ])("runSignCommand reads --expires %s", (text, seconds) => {
    const { stdout } = sign(...withFlag("--expires", text));
    expect(parseHeaderRow(stdout).signature?.expiresB36).toBe(seconds.toString(36));
  });

  test("runSignCommand accepts the largest expiry", () => {
    const { stdout } = sign(...withFlag("--expires", "18446744073709551615"));
    expect(parseHeaderRow(stdout).signature?.expiresB36).toBe("3w5e11264sgsf");
    expect(row(stdout, "expires")).toBe("epoch second 18446744073709551615");
  });

  test.each([["1899999999"], ["0"], ["2020-01-01T00:00:00Z"]])("runSignCommand warns that %s is over", (text) => {
    const { stderr, exitCode } = sign(...withFlag("--expires", text));
    expect(stderr).toBe("ingress sign: note: the route has already expired\n");
    expect(exitCode).toBe(0);
  });

  test("runSignCommand signs the host form for the id that the ingress will read there", () => {
    const { stdout, stderr } = sign(...withFlag("--id", "My-Box"));
    const keys = parseAccessKeys(KEY);
    const header = parseHeaderRow(stdout);
    const host = parseRoute({ path: "/", headers: new Headers(), host: row(stdout, "host") }, "header");
    expect(header.sandboxId).toBe("My-Box");
    expect(host.sandboxId).toBe("my-box");
    for (const { signature, ...route } of [header, host]) {
      if (signature === undefined) throw new Error("the route is not signed");
      expect(verifySignature(keys, { ...route, signature })).toBe("valid");
    }
    expect(stderr).toContain("the host form names my-box");
  });

  test("runSignCommand omits forms that an id does not fit, and notes why", () => {
    const dotted = sign(...withFlag("--id", "my.box"));
    expect(dotted.stdout).toStartWith("uri      /my.box/8080/");
    expect(dotted.stderr).toContain("no header and host form: these forms end the id at its dot");
    const long = sign(...withFlag("--id", "a".repeat(42)));
    expect(long.stdout).toStartWith("header ");
    expect(long.stdout).not.toContain("host ");
    expect(long.stderr).toContain("no host form: the label has 64 characters");
    expect(sign(...withFlag("--id", "a".repeat(41))).stdout).toContain("host ");
  });

  test("runSignCommand reports every fault at once, with the usage, exit 2", () => {
    const { stdout, stderr, exitCode } = sign("--key=a", "--id", "a/b", "--port=0", "--base=x", "--nope", "stray");
    expect(exitCode).toBe(2);
    expect(stdout).toBe("");
    const faults = [
      "unknown flag",
      "takes flags only",
      "--key: ",
      "--id: ",
      "--port: ",
      "--expires is missing",
      "--base: ",
    ];
    for (const fault of faults) expect(stderr).toContain(`ingress sign: ${fault}`);
    expect(stderr).toContain("Usage: ingress sign");
  });

  test.each([
    ["--key", "a=U0VDUkVU!"],
    ["--key", "U0VDUkVU"],
    ["--key", "a=U0VDUkVU,b=U0VDUkVU"],
    ["--key", "a=@/keys/none"],
    ["--key", "a=@/keys/bad"],
    ["--id", ""],
    ["--id", "a".repeat(254)],
    ["--port", "65536"],
    ["--port", "080"],
    ["--expires", ""],
    ["--expires", "-1h"],
    ["--expires", "1x"],
    ["--expires", "876001h"],
    ["--expires", "18446744073709551616"],
    ["--expires", "2033-02-30T00:00:00Z"],
    ["--expires", "2033-05-18"],
    ["--expires", "2033-05-18T03:33:20"],
    ["--expires", "1969-12-31T23:59:59Z"],
    ["--base", "example.com"],
    ["--base", "ftp://example.com"],
    ["--base", "https://u:p@example.com"],
    ["--base", "https://example.com/?x"],
  ])("runSignCommand refuses %s %s, and shows no secret", (name, value) => {
    const { stdout, stderr, exitCode } = sign(...withFlag(name, value));
    expect(exitCode).toBe(2);
    expect(stderr).toStartWith(`ingress sign: ${name}: `);
    expect(stdout + stderr).not.toContain("U0VD");
  });

  test("runSignCommand reports a missing value", () => {
    expect(sign("--key").stderr).toContain("--key: a value is missing");
  });

  test.each([["--help"], ["-h"]])("runSignCommand prints its usage for %s", (flag) => {
    const { stdout, exitCode } = sign(flag);
    expect(stdout).toStartWith("Usage: ingress sign");
    expect(exitCode).toBe(0);
  });
});
