import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { eventually } from "../../scripts/lib/eventually.ts";
import { type IngressProcess, runToEnd, startIngressProcess } from "../../scripts/lib/ingress-process.ts";
import { batchSandbox } from "../../scripts/lib/stage/sandbox-objects.ts";
import { askRaw } from "../support/ask-raw.ts";
import { tempDir } from "../support/temp-dir.ts";

const MAIN = join(import.meta.dir, "../../src/main.ts");
const SECRET = "a-secret-of-the-request";
const TOKEN = "the-admin-token-of-this-process";

const dir = tempDir();
const manifest = join(dir.path, "sandboxes.json");
const tokenFile = join(dir.path, "token");
const upstream = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("hello") });
let ingress: IngressProcess;

beforeAll(async () => {
  const runs = batchSandbox({ name: "runs", endpoints: '["127.0.0.1"]' });
  // It may well see the Host that an operator's browser would send.
  const annotations = {
    "sandbox.opensandbox.io/endpoints": '["127.0.0.1"]',
    "ingress.opensandbox.io/host-header": "localhost",
  };
  const sly = { ...runs, metadata: { name: "sly", namespace: "ns", uid: "uid-2", annotations } };
  writeFileSync(manifest, JSON.stringify({ apiVersion: "v1", kind: "List", items: [runs, sly] }));
  writeFileSync(tokenFile, TOKEN);
  const flags = [`--manifests=${manifest}`, `--admin-token-file=${tokenFile}`, "--access-log=all", "--log-level=debug"];
  ingress = await startIngressProcess(process.execPath, flags, { script: MAIN });
  await eventually(async () => (await fetch(`${ingress.adminOrigin}/readyz`)).ok);
});
afterAll(async () => {
  await ingress[Symbol.asyncDispose]();
  await upstream.stop(true);
  dir[Symbol.dispose]();
});

const run = (...args: readonly string[]) => runToEnd([process.execPath, MAIN, ...args]);

/** Each run starts the program from its sources, on a machine that others use, too. */
const RUNS_MAX_MS = 30_000;

describe("the pages for operators of a running ingress", () => {
  test("/debug/status tells of the whole program", async () => {
    const status: unknown = await (await fetch(`${ingress.adminOrigin}/debug/status`)).json();
    expect(status).toMatchObject({
      mode: "header",
      provider: "batchsandbox",
      phase: "ready",
      traffic: { open: 0 },
      memory: { heldBytes: 0 },
      sandboxes: { ready: 2, notReady: 0, ambiguous: 0, synced: true },
    });
  });

  test("a sandbox that leads to the admin port does not lead to the pages for operators", async () => {
    const adminPort = new URL(ingress.adminOrigin).port;
    for (const [name, path] of [
      ["sly", "/debug/sandboxes"],
      ["runs", "/debug/status"],
    ] as const) {
      const headers = { Host: "localhost", "OpenSandbox-Ingress-To": `${name}-${adminPort}` };
      const dropped = { ...headers, Connection: "x-forwarded-for, x-forwarded-host, x-forwarded-proto, cdn-loop" };
      for (const sent of [headers, dropped]) {
        const answer = await askRaw(Number(new URL(ingress.origin).port), path, { headers: sent });
        expect([answer.status, answer.text.includes("uid")]).toEqual([401, false]);
      }
    }
  });

  test(
    "ingress explain asks it, exits with 0 or 1, and nothing of the question is logged",
    async () => {
      const admin = `--admin=${ingress.adminOrigin}`;
      const found = await run("explain", `runs-${upstream.port}`, admin, "--header", `X-Secret: ${SECRET}`);
      expect([found.exitCode, found.stderr]).toEqual([0, ""]);
      expect(found.stdout).toEndWith("would be forwarded\n");
      const url = `http://rns-80.example.com/${SECRET}?${SECRET}`;
      const missing = await run("explain", url, admin, `--admin-token-file=${tokenFile}`);
      expect(missing.exitCode).toBe(1);
      expect(missing.stdout).toContain("did you mean runs?");
      expect(missing.stdout + ingress.readOutput()).not.toContain(SECRET);
      expect(ingress.readOutput()).not.toContain(TOKEN);
    },
    RUNS_MAX_MS,
  );

  test(
    "ingress sandboxes asks it, and shows what requests leave behind",
    async () => {
      await fetch(ingress.origin, { headers: { "OpenSandbox-Ingress-To": `runs-${upstream.port}` } });
      const list: unknown = await eventually(async () => {
        const { stdout } = await run("sandboxes", `--admin=${ingress.adminOrigin}`, "--json", "--search=runs");
        const seen: unknown = JSON.parse(stdout);
        // Those that were led to the admin port, and this one.
        return stdout.includes('"requests":3') && seen;
      });
      expect(list).toMatchObject({
        sandboxes: [{ id: "runs", state: "ready", sinceAtLeast: true, requests: 3, errors: 0 }],
      });
    },
    RUNS_MAX_MS,
  );

  test(
    "ingress explain and sandboxes look themselves",
    async () => {
      const found = await run("explain", `runs-${upstream.port}`, `--manifests=${manifest}`);
      expect([found.exitCode, found.stdout.endsWith("would be forwarded\n")]).toEqual([0, true]);
      const list = await run("sandboxes", "--manifests", manifest);
      expect([list.exitCode, list.stdout.split("\n").length]).toEqual([0, 4]);
      expect((await run("explain")).exitCode).toBe(2);
    },
    RUNS_MAX_MS,
  );

  test(
    "an ingress does not start with an admin token that is too short",
    async () => {
      const short = join(dir.path, "short");
      writeFileSync(short, "short");
      const ports = [
        "--host=127.0.0.1",
        "--admin-host=127.0.0.1",
        "--port=0",
        "--shutdown-delay=0",
        "--drain-timeout=0",
      ];
      const result = await run(`--manifests=${manifest}`, ...ports, `--admin-token-file=${short}`);
      expect(result.exitCode).toBe(1);
      expect(result.stdout).toContain("it must have 16 to 1024 characters");
    },
    RUNS_MAX_MS,
  );
});
