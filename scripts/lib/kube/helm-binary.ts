import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { buildGoProgram, programCacheDir } from "./go-build.ts";

const ROOT = resolve(import.meta.dir, "../../..");
/** A Go module whose go.mod and go.sum pin Helm and all its dependencies. */
const MODULE_DIR = join(ROOT, "scripts", "helm");
const PACKAGE = "helm.sh/helm/v3";
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
  const ldflags = `-s -w ${listVariables(version)
    .map((variable) => `-X ${PACKAGE}/${variable}`)
    .join(" ")}`;
  await buildGoProgram(`${PACKAGE}/cmd/helm`, { moduleDir: MODULE_DIR, output, ldflags, progress });
  return output;
}

/** What Helm's own Makefile sets: its version, and the Kubernetes that `helm template` and `helm lint` assume. */
function listVariables(version: string): readonly string[] {
  const minor = pinnedBy(/^\s*k8s\.io\/client-go v0\.(\d+)\./m);
  const places = ["pkg/chartutil", "pkg/lint/rules"];
  return [
    `internal/version.version=${version}`,
    ...places.flatMap((place) => [`${place}.k8sVersionMajor=1`, `${place}.k8sVersionMinor=${minor}`]),
  ];
}

/** Named by version, so that a newer go.mod causes a new build. */
function helmPath(): string {
  return join(programCacheDir(ROOT), "helm", pinnedVersion(), "helm");
}

function pinnedVersion(): string {
  return pinnedBy(/^require helm\.sh\/helm\/v3 (v\S+)/m);
}

function pinnedBy(pattern: RegExp): string {
  const version = pattern.exec(readFileSync(join(MODULE_DIR, "go.mod"), "utf8"))?.[1];
  if (version === undefined) throw new Error(`Cannot read a version in ${MODULE_DIR}/go.mod`);
  return version;
}
