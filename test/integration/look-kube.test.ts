import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";

import { systemClock } from "../../src/clock.ts";
import { runExplainCommand } from "../../src/commands/explain-command.ts";
import { runSandboxesCommand } from "../../src/commands/sandboxes-command.ts";
import {
  BATCH_SANDBOX,
  createNamespace,
  createObject,
  installCrd,
  readyAt,
} from "../../scripts/lib/kube/kube-resources.ts";
import { hasKubeApiServer, useKubeApiServer } from "../support/kube-fixture.ts";
import { grantToNewAccount, requestToken } from "../support/kube-rbac.ts";

// A fault has to last before it is told.
setDefaultTimeout(60_000);

const seams = {
  readFile: (path: string) => readFileSync(path, "utf8"),
  nowMs: Date.now(),
  clock: systemClock,
  environment: {},
};

describe.skipIf(!hasKubeApiServer())("commands that look at a real API server", () => {
  const api = useKubeApiServer();
  let admin = "";
  let limited = "";
  beforeAll(async () => {
    admin = `--kubeconfig=${api().writeKubeconfig("admin")}`;
    await installCrd(api(), BATCH_SANDBOX);
    for (const namespace of ["one", "two"]) {
      await createNamespace(api(), namespace);
      await createObject(api(), BATCH_SANDBOX, { namespace, name: `box-${namespace}`, ...readyAt("10.0.0.1") });
      await createObject(api(), BATCH_SANDBOX, { namespace, name: "twin", ...readyAt("10.0.0.2") });
    }
    await grantToNewAccount(api(), BATCH_SANDBOX, {
      namespace: "one",
      serviceAccount: "viewer",
      verbs: ["list", "watch"],
    });
    const token = await requestToken(api(), "one", "viewer");
    limited = `--kubeconfig=${api().writeKubeconfig("viewer", { user: { token } })}`;
  });

  test("ingress sandboxes lists all namespaces, or those that are named", async () => {
    const list = async (...args: readonly string[]) => {
      const { stdout } = await runSandboxesCommand(args, seams);
      return stdout
        .trimEnd()
        .split("\n")
        .slice(1)
        .map((line) => line.split(/ {2,}/).slice(0, 3).join(" "));
    };
    expect(await list(admin)).toEqual([
      "one box-one ready",
      "two box-two ready",
      "one twin ambiguous",
      "two twin ambiguous",
    ]);
    expect(await list(admin, "--namespace=two")).toEqual(["two box-two ready", "two twin ready"]);
    expect(await list(limited, "--namespace", "one")).toEqual(["one box-one ready", "one twin ready"]);
  });

  test("ingress explain says what an ingress with these flags would do", async () => {
    const found = await runExplainCommand(["box-two-80", admin], seams);
    expect([found.exitCode, found.stdout.includes("10.0.0.1:80")]).toEqual([0, true]);
    const twin = await runExplainCommand(["twin-80", admin], seams);
    expect([twin.exitCode, twin.stdout.includes("502 sandbox_ambiguous")]).toEqual([1, true]);
    expect((await runExplainCommand(["twin-80", admin, "--namespace=one"], seams)).exitCode).toBe(0);
  });

  test("ingress sandboxes and explain say that a permission is missing", async () => {
    for (const result of [
      await runSandboxesCommand([limited, "--namespace=two"], seams),
      await runExplainCommand(["twin-80", limited], seams),
    ]) {
      expect([result.exitCode, result.stdout]).toEqual([1, ""]);
      expect(result.stderr).toMatch(/forbidden|permission|403/i);
    }
  });
});
