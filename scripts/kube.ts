// kube.ts: `./scripts/kube` after Bun is installed.
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { startKubeApiServer } from "./lib/kube/kube-api-server.ts";
import { canHaveKubeBinaries, ensureKubeBinaries, KUBE_BINARIES_HINT } from "./lib/kube/kube-binaries.ts";
import { AGENT_SANDBOX, BATCH_SANDBOX, installCrd } from "./lib/kube/kube-resources.ts";

if (!canHaveKubeBinaries()) {
  console.error(`kube: Go and the binaries are missing; get them with: ${KUBE_BINARIES_HINT}`);
  process.exit(1);
}
const progress = (line: string) => console.error(`kube: ${line}`);
if (process.argv.includes("--build")) {
  const { apiServer } = await ensureKubeBinaries(progress);
  progress(`the binaries are in ${join(apiServer, "..")}`);
  process.exit(0);
}

const dir = join(import.meta.dir, "..", ".cache", `kube-run-${process.pid}`);
mkdirSync(dir, { recursive: true });
const { promise: stopped, resolve: stop } = Promise.withResolvers<void>();
process.once("SIGINT", () => stop());
process.once("SIGTERM", () => stop());
try {
  await using server = await startKubeApiServer({ dir, progress });
  await installCrd(server, BATCH_SANDBOX);
  await installCrd(server, AGENT_SANDBOX);
  const kubeconfig = server.writeKubeconfig("admin");
  console.log(
    `kube-apiserver serves on ${server.url}; Ctrl-C ends it and forgets all objects. For kubectl and the ingress:`,
  );
  console.log(`  export KUBECONFIG='${kubeconfig}'`);
  await stopped;
} finally {
  rmSync(dir, { recursive: true, force: true });
}
