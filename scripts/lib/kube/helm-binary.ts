import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { buildGoProgram, programCacheDir } from "./go-build.ts";

const ROOT = resolve(import.meta.dir, "../../..");
/** A Go module whose go.mod and go.sum pin Helm and all its dependencies. */
const MODULE_DIR = join(ROOT, "scripts", "helm");
/** A full build takes about two minutes on two cores; a slow machine may take several times as long. */
export const HELM_BUILD_MAX_MS = 15 * 60_000;

/** For a person whose machine lacks Helm. */
export const HELM_HINT = "./scripts/helm-build (needs Go 1.24)";

/** Whether Helm is built or can be built here. */
export function canHaveHelm(): boolean {
  return existsSync(helmPath()) || Bun.which("go") !== null;
}

/** The path of Helm, which is built if it is missing. `progress` gets a line now and then. */
export async function ensureHelm(progress: (line: string) => void): Promise<string> {
  const output = helmPath();
  if (existsSync(output)) return output;
  mkdirSync(join(output, ".."), { recursive: true });
  const version = pinnedVersion();
  progress(`building Helm ${version}, about two minutes on two cores`);
  const ldflags = `-s -w -X helm.sh/helm/v3/internal/version.version=${version}`;
  await buildGoProgram("helm.sh/helm/v3/cmd/helm", { moduleDir: MODULE_DIR, output, ldflags, progress });
  return output;
}

/** Named by version, so that a newer go.mod causes a new build. */
function helmPath(): string {
  return join(programCacheDir(ROOT), "helm", pinnedVersion(), "helm");
}

function pinnedVersion(): string {
  const version = /^require helm\.sh\/helm\/v3 (v\S+)/m.exec(readFileSync(join(MODULE_DIR, "go.mod"), "utf8"))?.[1];
  if (version === undefined) throw new Error(`Cannot read the version in ${MODULE_DIR}/go.mod`);
  return version;
}
