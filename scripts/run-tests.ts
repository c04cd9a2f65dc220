// run-tests.ts [STEP …]: the steps of `scripts/test`, which prepares their needs; all steps without a name.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { APPS } from "./lib/apps/app-parts.ts";
import { canHaveHelm, HELM_BUILD_MAX_MS } from "./lib/kube/helm-binary.ts";
import { canHaveKubeBinaries, KUBE_BUILD_MAX_MS } from "./lib/kube/kube-binaries.ts";
import { runLimited } from "./lib/steps/run-limited.ts";
import { selectSteps } from "./lib/steps/select-steps.ts";
import {
  countPlainStep,
  countTestRun,
  formatCounts,
  listSkippedTests,
  parseSkipReasons,
  sumCounts,
  type Counts,
} from "./lib/steps/test-report.ts";

const ROOT = join(import.meta.dir, "..");
const RESULTS = join(ROOT, ".cache/test-results");
const BUN = process.execPath;
const IS_CI = process.env["CI"] === "true";
const IS_ROOT = process.getuid?.() === 0;
const MINUTE_MS = 60_000;
const PROXY_VARIABLES = ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

interface Step {
  /** The name on the command line and in reports. */
  readonly name: string;
  /** Steps that must run before it, even if only this one is named. */
  readonly needs?: readonly string[];
  readonly command: readonly string[];
  /** Far above its usual time. A step that reaches it hangs. */
  readonly maxMs: number;
  /** A `bun test` run, whose report has counts. Other steps are one check each. */
  readonly isTestRun?: boolean;
  /** Why it cannot run on this machine, and what to do about it. */
  readonly skipReason?: string | undefined;
}

/**
 * The longest time of one test, in milliseconds. Bun's default of 5 s is too short for a busy machine, and bunfig.toml
 * cannot set it.
 */
const TEST_MAX_MS = MINUTE_MS;

const BUN_TEST = [BUN, "test", "--isolate", `--timeout=${TEST_MAX_MS}`] as const;

const STEPS: readonly Step[] = [
  // The browser's code, and what it refers to: all the rest.
  { name: "types", command: [BUN, "check", "-b", "-p", "src/admin/dashboard"], maxMs: 3 * MINUTE_MS },
  { name: "format", command: [BUN, "fmt", "--check"], maxMs: MINUTE_MS },
  {
    name: "lint",
    command: ["node_modules/.bin/oxlint", "src", "test", "scripts", "docs/upstream"],
    maxMs: 3 * MINUTE_MS,
  },
  {
    name: "shell",
    command: ["shellcheck", "-x", "--source-path=SCRIPTDIR", ...listShellScripts()],
    maxMs: MINUTE_MS,
    skipReason:
      Bun.which("shellcheck") === null ? "shellcheck is missing; get it with: apt-get install shellcheck" : undefined,
  },
  { name: "build", command: ["scripts/build"], maxMs: 3 * MINUTE_MS },
  // If these are missing, the tests that need them report it.
  ...(canHaveKubeBinaries()
    ? [{ name: "api-server", command: ["scripts/kube", "--build"], maxMs: KUBE_BUILD_MAX_MS }]
    : []),
  ...(canHaveHelm() ? [{ name: "helm", command: ["scripts/helm-build"], maxMs: HELM_BUILD_MAX_MS }] : []),
  {
    name: "unit",
    command: [...BUN_TEST, "./test/unit", "./test/architecture.test.ts"],
    maxMs: 5 * MINUTE_MS,
    isTestRun: true,
  },
  {
    name: "integration",
    command: [...BUN_TEST, "./test/integration"],
    needs: ["api-server"],
    maxMs: 15 * MINUTE_MS,
    isTestRun: true,
  },
  {
    name: "e2e",
    command: [...BUN_TEST, "./test/e2e", "--path-ignore-patterns=test/e2e/apps/**"],
    needs: ["build", "api-server", "helm"],
    maxMs: 25 * MINUTE_MS,
    isTestRun: true,
  },
  // Where an application cannot be had, its test says so.
  { name: "app-install", command: ["scripts/apps", "--install", "--ci"], maxMs: 20 * MINUTE_MS },
  {
    name: "apps",
    command: [...BUN_TEST, ...APPS.filter((app) => app.inCi).map(({ name }) => `./test/e2e/apps/${name}`)],
    needs: ["build", "app-install"],
    maxMs: 15 * MINUTE_MS,
    isTestRun: true,
  },
  { name: "demo", command: ["scripts/demo", "--check"], maxMs: 5 * MINUTE_MS },
  {
    name: "image",
    command: [...(IS_ROOT ? [] : ["sudo", "-n", "-E"]), "scripts/image-check"],
    maxMs: 5 * MINUTE_MS,
    skipReason: findImageCheckObstacle(),
  },
];

function listShellScripts(): string[] {
  const scripts = [...new Bun.Glob("{scripts,.ci}/**").scanSync({ cwd: ROOT, dot: true })];
  return scripts
    .filter((path) => path.endsWith(".sh") || readFileSync(join(ROOT, path), "utf8").startsWith("#!/usr/bin/env bash"))
    .toSorted();
}

function findImageCheckObstacle(): string | undefined {
  if (process.platform !== "linux" || Bun.which("dpkg-deb") === null)
    return "it needs a Debian; get it with: a Debian container";
  if (!IS_ROOT) return IS_CI ? undefined : "it needs root; get it with: sudo ./scripts/image-check";
  const canMount = Bun.spawnSync(["unshare", "--mount", "true"], { stderr: "ignore" }).success;
  return canMount ? undefined : "it may not mount; get it with: a machine, or docker run --privileged";
}

interface StepResult {
  readonly counts: Counts;
  /** Why a part of it was skipped. */
  readonly reasons: readonly string[];
}

async function runStep(step: Step): Promise<StepResult> {
  if (step.skipReason !== undefined) {
    console.log(`skip  ${step.name}: ${step.skipReason}`);
    return { counts: { passed: 0, failed: 0, skipped: 1 }, reasons: [`${step.name}: ${step.skipReason}`] };
  }
  console.log(`\n=== ${step.name}`);
  const junitFile = join(RESULTS, `${step.name}.xml`);
  const skipsFile = join(RESULTS, `${step.name}.skips`);
  writeFileSync(skipsFile, "");
  const env: Record<string, string | undefined> = { ...process.env };
  if (step.isTestRun) {
    for (const name of PROXY_VARIABLES) delete env[name]; // Tests talk to this machine only.
    env["INGRESS_BINARY"] = join(ROOT, "dist/ingress");
    env["INGRESS_TEST_SKIPS_FILE"] = skipsFile;
  }
  const report = step.isTestRun ? ["--only-failures", "--reporter=junit", `--reporter-outfile=${junitFile}`] : [];
  const started = performance.now();
  const ending = await runLimited([...step.command, ...report], { cwd: ROOT, env, maxMs: step.maxMs });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);

  const junit = existsSync(junitFile) ? readFileSync(junitFile, "utf8") : undefined;
  const counts = step.isTestRun ? countTestRun(ending, junit) : countPlainStep(ending);
  const reasons = parseSkipReasons(readFileSync(skipsFile, "utf8")).map((reason) => `${step.name}: ${reason}`);
  if (counts.skipped > 0 && reasons.length === 0) {
    reasons.push(...listSkippedTests(junit ?? "").map((name) => `${step.name}: no reason given by "${name}"`));
  }
  const limit = ending.timedOut ? `, killed at its limit of ${step.maxMs / MINUTE_MS} min` : "";
  console.log(`${counts.failed === 0 ? "ok  " : "FAIL"}  ${step.name}, ${seconds} s${limit}`);
  return { counts, reasons };
}

async function main(names: readonly string[]): Promise<number> {
  let steps: readonly Step[];
  try {
    steps = selectSteps(STEPS, names);
  } catch (error) {
    console.error(`test: ${error instanceof Error ? error.message : String(error)}`);
    console.log(formatCounts({ passed: 0, failed: 1, skipped: 0 }));
    return 2;
  }
  rmSync(RESULTS, { recursive: true, force: true });
  mkdirSync(RESULTS, { recursive: true });
  const results: StepResult[] = [];
  for (const step of steps) {
    try {
      results.push(await runStep(step));
    } catch (error) {
      // The program is missing. The other steps still run.
      console.log(`FAIL  ${step.name}: ${error instanceof Error ? error.message : String(error)}`);
      results.push({ counts: { passed: 0, failed: 1, skipped: 0 }, reasons: [] });
    }
  }
  const total = sumCounts(
    results.map((result) => result.counts),
    { skipsAllowed: !IS_CI },
  );
  console.log("");
  for (const reason of results.flatMap((result) => result.reasons)) console.log(`skipped: ${reason}`);
  console.log(formatCounts(total));
  return total.failed === 0 ? 0 : 1;
}

process.exitCode = await main(Bun.argv.slice(2));
