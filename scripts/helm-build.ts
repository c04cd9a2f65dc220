// helm-build.ts: `./scripts/helm-build` after Bun is installed.
import { canHaveHelm, ensureHelm, HELM_HINT } from "./lib/kube/helm-binary.ts";

if (!canHaveHelm()) {
  console.error(`helm-build: Go and Helm are missing; get Helm with: ${HELM_HINT}`);
  process.exit(1);
}
console.log(await ensureHelm((line) => console.error(`helm-build: ${line}`)));
