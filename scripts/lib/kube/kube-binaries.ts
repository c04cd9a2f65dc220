import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { buildGoProgram, programCacheDir } from "./go-build.ts";

/** The two programs of a test API server, and one that renders what is deployed to it. */
export interface KubeBinaries {
  readonly apiServer: string;
  readonly etcd: string;
  /** A command that takes a folder and prints the objects of its kustomization.yaml. */
  readonly kustomize: readonly string[];
}

const ROOT = resolve(import.meta.dir, "../../..");
/** A Go module whose go.mod and go.sum pin the programs and all their dependencies. */
const MODULE_DIR = join(ROOT, "scripts", "kube-apiserver");
/** A full build takes about four minutes on two cores; a slow machine may take several times as long. */
export const KUBE_BUILD_MAX_MS = 30 * 60_000;

/** For a person whose machine lacks the parts. */
export const KUBE_BINARIES_HINT = "./scripts/kube --build (needs Go 1.24), or set KUBEBUILDER_ASSETS";

/**
 * The available binaries: in `KUBEBUILDER_ASSETS` (the convention of controller-runtime's envtest), or built before.
 */
export function findKubeBinaries(): KubeBinaries | undefined {
  const assets = process.env["KUBEBUILDER_ASSETS"];
  const isBuiltHere = assets === undefined || assets === "";
  const dir = isBuiltHere ? cacheDir() : assets;
  const renderer = join(dir, isBuiltHere ? "kustomize" : "kubectl");
  const kustomize = [renderer, isBuiltHere ? "build" : "kustomize"];
  const binaries = { apiServer: join(dir, "kube-apiserver"), etcd: join(dir, "etcd"), kustomize };
  return [binaries.apiServer, binaries.etcd, renderer].every((path) => existsSync(path)) ? binaries : undefined;
}

/** Whether the binaries are available or can be built here. */
export function canHaveKubeBinaries(): boolean {
  return findKubeBinaries() !== undefined || Bun.which("go") !== null;
}

/** Finds the binaries or builds them. `progress` gets a line now and then. */
export async function ensureKubeBinaries(progress: (line: string) => void): Promise<KubeBinaries> {
  const found = findKubeBinaries();
  if (found !== undefined) return found;
  const { kubernetes, etcd } = pinnedVersions();
  const dir = cacheDir();
  mkdirSync(dir, { recursive: true });
  progress(`building kube-apiserver ${kubernetes} and etcd ${etcd}, about four minutes on two cores`);
  const ldflags = `-s -w -X k8s.io/component-base/version.gitVersion=${kubernetes}`;
  const common = { moduleDir: MODULE_DIR, ldflags: "-s -w", progress };
  await buildGoProgram("go.etcd.io/etcd/server/v3", { ...common, output: join(dir, "etcd") });
  const apiServer = { ...common, ldflags, output: join(dir, "kube-apiserver") };
  await buildGoProgram("k8s.io/kubernetes/cmd/kube-apiserver", apiServer);
  await buildGoProgram("sigs.k8s.io/kustomize/kustomize/v5", { ...common, output: join(dir, "kustomize") });
  const built = findKubeBinaries();
  if (built === undefined) throw new Error(`Cannot find what was built in ${dir}`);
  return built;
}

/** Named by version, so that a newer go.mod causes a new build. */
function cacheDir(): string {
  const { kubernetes, etcd } = pinnedVersions();
  return join(programCacheDir(ROOT), "kube", `${kubernetes}-etcd-${etcd}`);
}

function pinnedVersions(): { readonly kubernetes: string; readonly etcd: string } {
  const text = readFileSync(join(MODULE_DIR, "go.mod"), "utf8");
  const kubernetes = /^\s*k8s\.io\/kubernetes (v\S+)/m.exec(text)?.[1];
  const etcd = /^\s*go\.etcd\.io\/etcd\/server\/v3 (v\S+)/m.exec(text)?.[1];
  if (kubernetes === undefined || etcd === undefined)
    throw new Error(`Cannot read the versions in ${MODULE_DIR}/go.mod`);
  return { kubernetes, etcd };
}
