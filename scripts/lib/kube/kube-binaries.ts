import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";

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
  await build("go.etcd.io/etcd/server/v3", { output: join(dir, "etcd"), ldflags: "-s -w", progress });
  await build("k8s.io/kubernetes/cmd/kube-apiserver", { output: join(dir, "kube-apiserver"), ldflags, progress });
  await build("sigs.k8s.io/kustomize/kustomize/v5", { output: join(dir, "kustomize"), ldflags: "-s -w", progress });
  const built = findKubeBinaries();
  if (built === undefined) throw new Error(`Cannot find what was built in ${dir}`);
  return built;
}

interface BuildOptions {
  readonly output: string;
  readonly ldflags: string;
  readonly progress: (line: string) => void;
}

async function build(mainPackage: string, { output, ldflags, progress }: BuildOptions): Promise<void> {
  const unfinished = `${output}.${process.pid}`;
  // -v names each package as it is compiled, which is the only progress.
  const args = ["build", "-v", "-trimpath", "-ldflags", ldflags, "-o", unfinished, mainPackage];
  const go = Bun.spawn(["go", ...args], {
    cwd: MODULE_DIR,
    env: { ...process.env, CGO_ENABLED: "0" },
    stdout: "ignore",
    stderr: "pipe",
  });
  let tail: string[] = [];
  let packages = 0;
  let saidMs = performance.now();
  const decoder = new TextDecoder();
  for await (const chunk of go.stderr) {
    const lines = decoder.decode(chunk, { stream: true }).split("\n");
    packages += lines.length - 1;
    tail = [...tail, ...lines].slice(-20);
    if (performance.now() - saidMs < PROGRESS_INTERVAL_MS) continue;
    saidMs = performance.now();
    progress(`  ${mainPackage}: ${packages} packages`);
  }
  if ((await go.exited) !== 0) {
    rmSync(unfinished, { force: true });
    throw new Error(`Cannot build ${mainPackage}:\n${tail.join("\n")}`);
  }
  // A rename, so that another process never sees half a file.
  renameSync(unfinished, output);
  progress(`  ${mainPackage}: done`);
}

const PROGRESS_INTERVAL_MS = 10_000;

/** Named by version, so that a newer go.mod causes a new build. `XDG_CACHE_HOME` lets several checkouts share one. */
function cacheDir(): string {
  const { kubernetes, etcd } = pinnedVersions();
  const shared = process.env["XDG_CACHE_HOME"];
  const base = shared === undefined || shared === "" ? join(ROOT, ".cache") : join(shared, "opensandbox-ingress");
  return join(base, "kube", `${kubernetes}-etcd-${etcd}`);
}

function pinnedVersions(): { readonly kubernetes: string; readonly etcd: string } {
  const text = readFileSync(join(MODULE_DIR, "go.mod"), "utf8");
  const kubernetes = /^\s*k8s\.io\/kubernetes (v\S+)/m.exec(text)?.[1];
  const etcd = /^\s*go\.etcd\.io\/etcd\/server\/v3 (v\S+)/m.exec(text)?.[1];
  if (kubernetes === undefined || etcd === undefined)
    throw new Error(`Cannot read the versions in ${MODULE_DIR}/go.mod`);
  return { kubernetes, etcd };
}
