// compile.ts [--platform linux-amd64|linux-arm64 --runtime BUN] --outfile FILE: one binary; `scripts/build` calls it.
import { mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";

const ROOT = dirname(import.meta.dir);
const BYTES_PER_MB = 1_000_000;

/** Container names of platforms, and Bun's names for them. */
const TARGETS: Readonly<Record<string, Bun.Build.CompileTarget>> = {
  "linux-amd64": "bun-linux-x64",
  "linux-arm64": "bun-linux-arm64",
};

/**
 * Part of the binary, where neither flags nor BUN_OPTIONS take them back: no code from strings, which also refuses
 * preloads and any module that is not compiled in, and no native add-ons.
 */
const EXEC_ARGV = [
  "--disallow-code-generation-from-strings=strict",
  "--no-addons",
  // The default of --max-header-size. BUN_OPTIONS overrides it.
  "--max-http-header-size=65536",
];

function gitOutput(...args: string[]): string | undefined {
  try {
    const { exitCode, stdout } = Bun.spawnSync(["git", "-C", ROOT, ...args], { stderr: "ignore" });
    return exitCode === 0 ? stdout.toString().trim() : undefined;
  } catch {
    return undefined; // No git on this machine.
  }
}

function findCommit(): string {
  if (process.env["COMMIT"]) return process.env["COMMIT"];
  const commit = gitOutput("rev-parse", "--short=12", "HEAD");
  if (commit === undefined) return "unknown";
  return gitOutput("status", "--porcelain") === "" ? commit : `${commit}-dirty`;
}

function findVersion(): string {
  if (process.env["VERSION"]) return process.env["VERSION"];
  const manifest: unknown = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  if (typeof manifest === "object" && manifest !== null && "version" in manifest) return String(manifest.version);
  throw new Error("package.json has no version");
}

/** https://reproducible-builds.org/specs/source-date-epoch/ */
function findBuildTime(): string {
  const epoch = process.env["SOURCE_DATE_EPOCH"];
  if (!epoch) return formatSeconds(Date.now());
  if (!/^\d{1,12}$/.test(epoch)) throw new Error(`SOURCE_DATE_EPOCH is not a number of seconds: ${epoch}`);
  return formatSeconds(Number(epoch) * 1000);
}

function formatSeconds(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace(/\.\d+Z$/, "Z");
}

function hostPlatform(): string {
  return `${process.platform}-${process.arch === "x64" ? "amd64" : process.arch}`;
}

const { values } = parseArgs({
  options: { platform: { type: "string" }, runtime: { type: "string" }, outfile: { type: "string" } },
});
const { outfile, platform, runtime } = values;
if (outfile === undefined) throw new Error("--outfile is missing");
const target = platform === undefined ? undefined : TARGETS[platform];
if (platform !== undefined && (target === undefined || runtime === undefined)) {
  throw new Error(`--platform must be one of ${Object.keys(TARGETS).join(", ")} and needs --runtime`);
}

const metadata = {
  INGRESS_BUILD_VERSION: findVersion(),
  INGRESS_BUILD_COMMIT: findCommit(),
  INGRESS_BUILD_TIME: findBuildTime(),
  INGRESS_BUILD_BUN_VERSION: Bun.version,
  INGRESS_BUILD_PLATFORM: platform ?? hostPlatform(),
};

mkdirSync(dirname(outfile), { recursive: true });
const result = await Bun.build({
  entrypoints: [join(ROOT, "src/main.ts")],
  target: "bun",
  format: "esm", // Bytecode is CommonJS by default, which has no top-level await.
  bytecode: true, // Parsed ahead of time: a fraction of the start-up time.
  sourcemap: "inline", // Embedded: stack traces name our files and lines.
  minify: { whitespace: true, syntax: true }, // Not identifiers: stack traces name our functions.
  define: {
    "process.env.NODE_ENV": '"production"',
    ...Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, JSON.stringify(value)])),
  },
  compile: {
    outfile,
    ...(target === undefined ? {} : { target }),
    ...(runtime === undefined ? {} : { executablePath: runtime }),
    execArgv: EXEC_ARGV,
    // No file in the working folder configures the ingress.
    autoloadDotenv: false,
    autoloadBunfig: false,
    autoloadTsconfig: false,
    autoloadPackageJson: false,
  },
});
if (!result.success) {
  for (const log of result.logs) console.error(log);
  process.exit(1);
}
rmSync(`${outfile}.map`, { force: true }); // Written beside the binary, which has its own copy.
const megabytes = (statSync(outfile).size / BYTES_PER_MB).toFixed(0);
console.log(`${outfile}: ${metadata.INGRESS_BUILD_VERSION}, ${metadata.INGRESS_BUILD_PLATFORM}, ${megabytes} MB`);
