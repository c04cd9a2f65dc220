import { renameSync, rmSync } from "node:fs";

export interface GoBuildOptions {
  /** The folder with the go.mod and go.sum that pin the program and all its dependencies. */
  readonly moduleDir: string;
  /** The path of the program. */
  readonly output: string;
  readonly ldflags: string;
  /** Receives a line now and then. */
  readonly progress: (line: string) => void;
}

const PROGRESS_INTERVAL_MS = 10_000;
/** Lines of the compiler that an error repeats. */
const TAIL_MAX_LINES = 20;

/** Builds a program from the Go module registry. Throws an Error with the compiler's last lines. */
export async function buildGoProgram(mainPackage: string, options: GoBuildOptions): Promise<void> {
  const { moduleDir, output, ldflags, progress } = options;
  const unfinished = `${output}.${process.pid}`;
  // -v names each package as it is compiled, which is the only progress.
  const args = ["build", "-v", "-trimpath", "-ldflags", ldflags, "-o", unfinished, mainPackage];
  const go = Bun.spawn(["go", ...args], {
    cwd: moduleDir,
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
    tail = [...tail, ...lines].slice(-TAIL_MAX_LINES);
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

/** The folder for what is built once. `XDG_CACHE_HOME` lets several checkouts share one. */
export function programCacheDir(root: string): string {
  const shared = process.env["XDG_CACHE_HOME"];
  return shared === undefined || shared === "" ? `${root}/.cache` : `${shared}/opensandbox-ingress`;
}
