import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { KUBE_BUILD_MAX_MS } from "../../scripts/lib/kube/kube-binaries.ts";
import { parseConfig } from "../../src/config/parse-config.ts";
import { hasKubeApiServer } from "../support/kube-fixture.ts";
import { dig, renderKustomization } from "../support/kustomize.ts";
import { listOf } from "../support/rendered-chart.ts";
import { tempDir } from "../support/temp-dir.ts";

// The first test may build kustomize.
setDefaultTimeout(KUBE_BUILD_MAX_MS);

const DEPLOY = join(import.meta.dir, "../../deploy");

async function renderWith(components: readonly string[]) {
  // A copy: Kustomize takes no absolute paths, and follows links.
  using dir = tempDir();
  cpSync(DEPLOY, join(dir.path, "deploy"), { recursive: true });
  const folder = join(dir.path, "overlay");
  mkdirSync(folder);
  const overlay = {
    namespace: "opensandbox",
    resources: ["../deploy/base"],
    components: components.map((name) => `../deploy/components/${name}`),
  };
  writeFileSync(join(folder, "kustomization.yaml"), JSON.stringify(overlay));
  return await renderKustomization(folder);
}

describe.skipIf(!hasKubeApiServer())("deploy/components/tls", () => {
  test.each([[["tls"]], [["network-policy", "tls"]]] as const)(
    "deploy/components/tls with the components %j opens the port from the Service to the program",
    async (components) => {
      const objects = await renderWith(components);
      const pod = dig(objects.get("Deployment"), "spec", "template", "spec");
      const container = dig(pod, "containers", 0);
      const args = listOf(dig(container, "args")).map((arg) => String(arg).replace("$(POD_NAMESPACE)", "ns"));
      const parsed = parseConfig(args, {});
      if (parsed.kind !== "run") throw new Error("the program refuses the flags");
      const { tls } = parsed.config;
      const port = listOf(dig(container, "ports")).find((entry) => dig(entry, "name") === "https");
      expect(dig(port, "containerPort")).toBe(tls?.port);
      const mount = listOf(dig(container, "volumeMounts")).find((entry) => dig(entry, "name") === "tls");
      const folder = String(dig(mount, "mountPath"));
      expect([tls?.certFile, tls?.keyFile]).toEqual([`${folder}/tls.crt`, `${folder}/tls.key`]);
      const volume = listOf(dig(pod, "volumes")).find((entry) => dig(entry, "name") === "tls");
      expect(dig(volume, "secret", "secretName")).toBe("opensandbox-ingress-tls");
      const ports = listOf(dig(objects.get("Service"), "spec", "ports"));
      expect(ports.map((entry) => [dig(entry, "port"), dig(entry, "targetPort")])).toEqual([
        [80, "http"],
        [443, "https"],
      ]);
      const policy = objects.get("NetworkPolicy");
      const admitted = listOf(dig(policy, "spec", "ingress", 0, "ports")).map((entry) => dig(entry, "port"));
      expect(admitted).toEqual(policy === undefined ? [] : ["http", "https"]);
    },
  );
});
