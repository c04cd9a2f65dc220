import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { systemClock } from "../../src/clock.ts";
import type { CommandResult } from "../../src/commands/command-line.ts";
import { runExplainCommand } from "../../src/commands/explain-command.ts";
import { runSandboxesCommand } from "../../src/commands/sandboxes-command.ts";
import { batchSandbox } from "../../scripts/lib/stage/sandbox-objects.ts";
import { createTableProvider } from "../../scripts/lib/stage/table-provider.ts";
import { type DebugStage, startDebugStage } from "../support/debug-stage.ts";
import { tempDir } from "../support/temp-dir.ts";

const TOKEN = "the-admin-token-of-this-test";
const SECRET = "token-of-a-sandbox";
const KEY = "a=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

const dir = tempDir();
const manifests = join(dir.path, "manifests");
const tokenFile = join(dir.path, "token");
const keysFile = join(dir.path, "keys");
let stage: DebugStage;
let admin: string;

beforeAll(async () => {
  mkdirSync(manifests);
  writeFileSync(tokenFile, `${TOKEN}\n`);
  writeFileSync(keysFile, `${KEY}\n`);
  const items = [
    batchSandbox({ name: "runs", endpoints: '["127.0.0.1"]' }),
    batchSandbox({ name: "waits", uid: "uid-2", status: { replicas: 1, ready: 0, phase: "Pending" } }),
    batchSandbox({ name: "secured", uid: "uid-3", endpoints: '["127.0.0.1"]', token: SECRET }),
    batchSandbox({ name: "odd", uid: "uid-4", endpoints: '["169.254.169.254"]' }),
  ];
  writeFileSync(join(manifests, "all.json"), JSON.stringify({ apiVersion: "v1", kind: "List", items }));
  const provider = createTableProvider();
  for (let at = 0; at < 1_200; at++) provider.set({ name: `box-${String(at).padStart(4, "0")}` });
  provider.set({ name: "waits", ready: false, notReady: "sandbox not ready: \u001b[31mred" });
  provider.set({ name: "secured", accessToken: SECRET });
  stage = await startDebugStage({}, { provider, adminTokenFile: tokenFile, accessKeys: KEY });
  admin = `--admin=http://127.0.0.1:${stage.adminPort}`;
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  dir[Symbol.dispose]();
});

const seams = {
  readFile: (path: string) => readFileSync(path, "utf8"),
  nowMs: Date.now(),
  clock: systemClock,
  environment: {},
};
const explain = (...args: readonly string[]) => runExplainCommand(args, seams);
const sandboxes = (...args: readonly string[]) => runSandboxesCommand(args, seams);
const lines = ({ stdout }: CommandResult) => stdout.trimEnd().split("\n");

describe("runExplainCommand", () => {
  test("runExplainCommand asks a running ingress, step by step, and exits with 0 when it would be forwarded", async () => {
    const result = await explain("box-0007-80", admin);
    expect([result.exitCode, result.stderr]).toEqual([0, ""]);
    const all = lines(result);
    expect(all.map((line) => line.split(/ {2,}/)[0])).toEqual([
      "request",
      "form",
      "body",
      "list",
      "sandbox",
      "access",
      "policy",
      "ready",
      "address",
      "limits",
      "would be forwarded",
    ]);
    expect(all[1]).toBe("form     ok       the header names sandbox box-0007, port 80");
    expect(all[9]).toContain("open: 0 of at most 1000 of this sandbox");
  });

  test("runExplainCommand sends headers, method and token; 1 when it would not be forwarded", async () => {
    expect((await explain("secured-80", admin)).exitCode).toBe(1);
    const header = `OpenSandbox-Secure-Access: ${SECRET}`;
    expect((await explain("secured-80", admin, "--header", header)).exitCode).toBe(0);
    const traced = await explain("box-0007-80", admin, "--method=trace", `--admin-token-file=${tokenFile}`);
    expect([traced.exitCode, lines(traced).at(-1)]).toEqual([1, "would not be forwarded: 405 method_not_allowed"]);
  });

  test("runExplainCommand names near sandboxes, and lets no control character through", async () => {
    expect(lines(await explain("watis-80", admin)).at(-1)).toBe("did you mean waits?");
    const { stdout } = await explain("waits-80", admin);
    expect(stdout).toContain("red");
    // oxlint-disable-next-line no-control-regex -- control characters are what this is about
    expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
  });

  test("runExplainCommand prints the answer of the ingress with --json", async () => {
    const { stdout, exitCode } = await explain("box-0007-80", admin, "--json");
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ forwarded: true, sandbox: { id: "box-0007", open: 0 } });
  });

  test("runExplainCommand reads manifests itself, with the keys and the mode of an ingress", async () => {
    const own = [`--manifests=${manifests}`, `--secure-access-keys-file=${keysFile}`];
    const found = await explain("runs-80", ...own);
    expect([found.exitCode, lines(found).at(-1)]).toEqual([0, "would be forwarded"]);
    expect(found.stdout).toContain("limits   unknown");
    expect(found.stderr).toMatch(/^ingress explain: note: .*name=odd/);
    const waiting = await explain("https://example.com/waits/80/x?y", ...own, "--mode", "uri");
    expect([waiting.exitCode, lines(waiting).at(-1)]).toEqual([1, "would not be forwarded: 503 sandbox_not_ready"]);
    const refused = await explain("secured-80-zzzzzz-00000000a", ...own, "--json");
    expect(JSON.parse(refused.stdout)).toMatchObject({ code: "signature_invalid", status: 401 });
    expect(refused.stdout + refused.stderr).not.toContain(SECRET);
  });

  test("runExplainCommand shows the text of a refusal, not its JSON", async () => {
    const { stderr, stdout, exitCode } = await explain("box-0007-80", admin, "--header", "a b: c");
    expect([exitCode, stdout]).toEqual([1, ""]);
    expect(stderr).toBe("ingress explain: The ingress refused (400): a header has an invalid name or value\n");
  });

  test("runExplainCommand says why it cannot see anything, with 1", async () => {
    const closed = await explain("a-80", "--admin=http://127.0.0.1:1");
    expect([closed.exitCode, closed.stdout]).toEqual([1, ""]);
    expect(closed.stderr).toContain("Cannot ask the ingress at http://127.0.0.1:1");
    const other = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("<html>") });
    expect((await explain("a-80", `--admin=http://127.0.0.1:${other.port}`)).stderr).toContain("not JSON");
    await other.stop(true);
    const noCluster = await explain("a-80", `--kubeconfig=${join(dir.path, "none")}`);
    expect([noCluster.exitCode, noCluster.stderr.includes("none")]).toEqual([1, true]);
  }, 60_000);

  test("runExplainCommand follows no redirect with the token", async () => {
    const seen: (string | null)[] = [];
    const thief = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch(request) {
        seen.push(request.headers.get("authorization"));
        return new Response("{}");
      },
    });
    const moved = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () => Response.redirect(`http://127.0.0.1:${thief.port}/`, 307),
    });
    const result = await explain("a-80", `--admin=http://127.0.0.1:${moved.port}`, `--admin-token-file=${tokenFile}`);
    expect([result.exitCode, seen]).toEqual([1, []]);
    expect(result.stderr).not.toContain(TOKEN);
    await moved.stop(true);
    await thief.stop(true);
  });

  test.each<[string, readonly string[]]>([
    ["no route", []],
    ["a flag before the route", ["--json"]],
    ["a header without a colon", ["a-80", "--header=x"]],
    ["a header without a value", ["a-80", "--header"]],
    ["an invalid method", ["a-80", "--method=G E T"]],
    ["an invalid admin URL", ["a-80", "--admin=localhost"]],
    ["an admin URL with a password", ["a-80", "--admin=http://user:pass@localhost"]],
    ["both kinds of flags", ["a-80", "--admin=http://a", "--mode=uri"]],
    ["a flag that there is not", ["a-80", "--none=1"]],
    ["two routes", ["a-80", "b-80"]],
    ["a token file that is not there", ["a-80", "--admin-token-file=/none"]],
  ])("runExplainCommand exits with 2 at %s", async (_, args) => {
    const { exitCode, stdout, stderr } = await explain(...args);
    expect([exitCode, stdout]).toEqual([2, ""]);
    expect(stderr).toStartWith("ingress explain: ");
    expect(stderr).toContain("Usage: ingress explain");
    expect(stderr).not.toContain("pass@");
  });

  test.each(["--help", "-h"])("runExplainCommand prints its usage with %s", async (flag) => {
    for (const args of [[flag], ["a-80", flag]]) {
      const result = await explain(...args);
      expect([result.exitCode, result.stdout.startsWith("Usage: ingress explain")]).toEqual([0, true]);
    }
  });
});

describe("runSandboxesCommand", () => {
  test("runSandboxesCommand lists all pages of a running ingress", async () => {
    const result = await sandboxes(admin);
    expect([result.exitCode, result.stderr]).toEqual([0, ""]);
    const [head, ...rows] = lines(result);
    expect(head).toStartWith("NAMESPACE  ID");
    expect(rows.length).toBe(1_202);
    expect(new Set(rows).size).toBe(1_202);
    const found = await sandboxes(admin, "--search=box-00", "--state", "ready");
    expect(lines(found).length).toBe(101);
  });

  test("runSandboxesCommand shows what is wrong with the annotations of a sandbox, ready or not", async () => {
    const fault = "unknown annotation ingress.opensandbox.io/odd";
    await using faulty = await startDebugStage();
    faulty.provider.set({ name: "ready", policy: { fault } });
    faulty.provider.set({ name: "waits", ready: false, notReady: "odd", policy: { fault } });
    const [, ready, waits] = lines(await sandboxes(`--admin=http://127.0.0.1:${faulty.adminPort}`));
    expect(ready).toEndWith(`  ${fault}`);
    expect(waits).toEndWith(`  odd; ${fault}`);
  });

  test("runSandboxesCommand prints JSON, without tokens", async () => {
    const { stdout } = await sandboxes(admin, "--json", "--search=secured");
    expect(JSON.parse(stdout)).toMatchObject({
      counts: { ready: 1_201 },
      sandboxes: [{ id: "secured", secured: true }],
    });
    expect(stdout).not.toContain(SECRET);
  });

  test("runSandboxesCommand reads manifests itself", async () => {
    const result = await sandboxes(`--manifests=${manifests}`);
    expect(result.exitCode).toBe(0);
    const cells = lines(result).map((line) => line.split(/ {2,}/).slice(0, 3).join(" "));
    expect(cells).toEqual([
      "NAMESPACE ID STATE",
      "ns odd not-ready",
      "ns runs ready",
      "ns secured ready",
      "ns waits not-ready",
    ]);
    expect(result.stderr).toContain("name=odd");
  });

  test("runSandboxesCommand does not take a list that is not complete for one", async () => {
    const provider = createTableProvider({ synced: false });
    provider.setStatus({ fault: "Kubernetes: forbidden" });
    await using unsynced = await startDebugStage({}, { provider });
    const { exitCode, stdout, stderr } = await sandboxes(`--admin=http://127.0.0.1:${unsynced.adminPort}`);
    expect([exitCode, stdout]).toEqual([1, ""]);
    expect(stderr).toContain("Kubernetes: forbidden");
  });

  test("runSandboxesCommand exits with 2 at a wrong command line, and prints its usage with --help", async () => {
    for (const args of [["--state=odd"], ["--search"], ["x"], [`--search=${"x".repeat(300)}`]]) {
      expect((await sandboxes(...args)).exitCode).toBe(2);
    }
    expect((await sandboxes("--help")).stdout).toStartWith("Usage: ingress sandboxes");
  });
});
