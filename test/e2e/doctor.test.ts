import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildBinary } from "../support/binary.ts";
import { runToEnd, startIngressProcess } from "../../scripts/lib/ingress-process.ts";
import { findFreePort } from "../../scripts/lib/free-port.ts";
import { hasKubeApiServer, useKubeApiServer } from "../support/kube-fixture.ts";
import { changeGrant, grantToNewAccount, requestToken } from "../support/kube-rbac.ts";
import { BATCH_SANDBOX, createNamespace, deleteCrd, installCrd } from "../../scripts/lib/kube/kube-resources.ts";
import { dig } from "../support/kustomize.ts";
import { hasRedis, type RedisServer, startRedis } from "../support/redis-server.ts";
import { tempDir } from "../support/temp-dir.ts";

setDefaultTimeout(60_000);

const PASSWORD = "hunter2-hunter2";
/** 32 bytes of SHA-256 of nothing. */
const KEY = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
const VERBS = ["get", "list", "watch"];

/** The findings in the output of `--json`, by name. */
function readFindings(stdout: string): ReadonlyMap<string, { readonly state: string; readonly detail: string }> {
  const json: unknown = JSON.parse(stdout);
  const found = dig(json, "findings");
  const findings: readonly unknown[] = Array.isArray(found) ? found : [];
  const textOf = (finding: unknown, field: string) => String(dig(finding, field));
  return new Map(
    findings.map((each) => [textOf(each, "name"), { state: textOf(each, "state"), detail: textOf(each, "detail") }]),
  );
}

describe.skipIf(!hasKubeApiServer() || !hasRedis)("ingress doctor with a real API server and a real Redis", () => {
  const api = useKubeApiServer();
  const account = { namespace: "ns", serviceAccount: "ingress" };
  let binary = "";
  let redis: RedisServer;
  let token = "";
  /** As in a pod, where the kubelet renews the token. */
  let tokenFile = "";
  const dir = tempDir();
  beforeAll(async () => {
    binary = await buildBinary();
    redis = await startRedis(`requirepass "${PASSWORD}"`);
    await installCrd(api(), BATCH_SANDBOX);
    await createNamespace(api(), "ns");
    await grantToNewAccount(api(), BATCH_SANDBOX, { ...account, verbs: VERBS });
    token = await requestToken(api(), "ns", "ingress");
    tokenFile = join(dir.path, "token");
    writeFileSync(tokenFile, token);
  }, 120_000);
  afterAll(async () => {
    await redis[Symbol.asyncDispose]();
    dir[Symbol.dispose]();
  });

  async function examine(...flags: readonly string[]) {
    const kubeconfig = api().writeKubeconfig("doctor", { user: { tokenFile } });
    const common = [
      "--namespace=ns",
      `--kubeconfig=${kubeconfig}`,
      "--host=127.0.0.1",
      "--admin-host=127.0.0.1",
      "--port=0",
      "--admin-port=0",
      "--max-requests=100",
      `--secure-access-keys=a=${KEY}`,
      "--renew-intent-enabled",
      `--renew-intent-redis-dsn=redis://:${PASSWORD}@127.0.0.1:${redis.port}/0`,
    ];
    const { exitCode, stdout, stderr } = await runToEnd([binary, "doctor", "--json", ...common, ...flags]);
    for (const secret of [PASSWORD, KEY, token]) expect(stdout + stderr).not.toContain(secret);
    expect(stderr).toBe("");
    const findings = readFindings(stdout);
    const failed = [...findings].filter(([, { state }]) => state === "fail").map(([name]) => name);
    expect(exitCode).toBe(failed.length === 0 ? 0 : 1);
    return { stdout, findings, failed };
  }

  test("ingress doctor finds nothing wrong where all is there, also beside a running ingress", async () => {
    const { stdout, findings, failed } = await examine();
    expect(failed).toEqual([]);
    const checked = ["credentials", "api-server", "clock", "kinds", "keys", "redis", "memory", "port"];
    for (const name of [...checked, ...VERBS.map((verb) => `permission ${verb} (ns)`)]) {
      expect([name, findings.get(name)?.state]).toEqual([name, "ok"]);
    }
    expect(stdout).toMatch(/"Kubernetes v1\.\d+/);
    await using ingress = await startIngressProcess(binary, ["--manifests=."], { cwd: import.meta.dir });
    const ports = [ingress.origin, ingress.adminOrigin].map((origin) => new URL(origin).port);
    const beside = await examine(`--port=${ports[0]}`, `--admin-port=${ports[1]}`);
    expect(beside.failed).toEqual([]);
    for (const name of ["port", "admin-port"]) {
      expect(beside.findings.get(name)?.detail).toContain("an ingress listens on");
    }
  });

  test.each(VERBS)("ingress doctor names the permission %s that is missing, and no other", async (verb) => {
    await changeGrant(api(), BATCH_SANDBOX, { ...account, verbs: VERBS.filter((other) => other !== verb) });
    const { failed } = await examine();
    await changeGrant(api(), BATCH_SANDBOX, { ...account, verbs: VERBS });
    expect(failed).toEqual([`permission ${verb} (ns)`]);
  });

  test("ingress doctor asks for every namespace, and for the whole cluster where that is watched", async () => {
    expect((await examine("--namespace=ns,other")).failed).toEqual(VERBS.map((verb) => `permission ${verb} (other)`));
    expect((await examine("--all-namespaces")).failed).toEqual(
      VERBS.map((verb) => `permission ${verb} (all namespaces)`),
    );
  });

  test("ingress doctor says that the other kind is not served", async () => {
    const { failed } = await examine("--provider-type=agent-sandbox");
    expect(failed).toContain("kinds");
    await deleteCrd(api(), BATCH_SANDBOX);
    expect((await examine()).failed).toEqual(["kinds"]);
    await installCrd(api(), BATCH_SANDBOX);
  });

  test("ingress doctor tells a refused token and an API server that is away, and skips what needs them", async () => {
    const kubeconfig = api().writeKubeconfig("refused", { user: { token: "wrong-token-of-hunter2" } });
    const refused = await examine(`--kubeconfig=${kubeconfig}`);
    expect(refused.failed).toEqual(["api-server"]);
    expect(refused.findings.get("permission list (ns)")?.state).toBe("skip");
    expect(refused.stdout).not.toContain("wrong-token-of-hunter2");
    const server = `https://127.0.0.1:${findFreePort()}`;
    const away = await examine(`--kubeconfig=${api().writeKubeconfig("away", { user: { token }, server })}`);
    expect(away.failed).toEqual(["api-server"]);
  });
});
