// apps.ts [--install] [--ci] [NAME …]: real applications through the ingress; `scripts/apps` calls it.
import { parseArgs } from "node:util";
import { join } from "node:path";
import { APPS, type AppParts } from "./lib/apps/app-parts.ts";
import { installApp, isInstalled, sourceFolder } from "./lib/apps/install-app.ts";
import { runLimited } from "./lib/steps/run-limited.ts";

const ROOT = join(import.meta.dir, "..");
/** Of all tests: an application takes a minute or two. */
const TESTS_MAX_MS = 60 * 60_000;
const PROXY_VARIABLES = ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

const USAGE = `Usage: ./scripts/apps [flags] [NAME …]

Installs applications in pinned versions into .cache/apps, and uses them as a person would: first directly, then through the
ingress in each form. docs/apps.md tells what works. Without a name all of them.

  --install  install only
  --ci       those that CI runs

${APPS.map(({ name, title, inCi }) => `  ${name.padEnd(10)} ${title}${inCi ? " (CI)" : ""}`).join("\n")}

An application that cannot be installed here is skipped; with CI=true it is a failure.
`;

const FLAGS = {
  install: { type: "boolean", default: false },
  ci: { type: "boolean", default: false },
  help: { type: "boolean", short: "h", default: false },
} as const;

/** Resolves with those that are installed. */
async function installAll(apps: readonly AppParts[]): Promise<readonly AppParts[]> {
  const installed: AppParts[] = [];
  for (const app of apps) {
    if (!isInstalled(app)) console.log(`installing ${app.title}`);
    try {
      await installApp(app);
      installed.push(app);
    } catch (error) {
      console.error(`apps: cannot install ${app.title}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return installed;
}

async function runTests(apps: readonly AppParts[]): Promise<number> {
  const env: Record<string, string | undefined> = { ...process.env };
  for (const name of PROXY_VARIABLES) delete env[name]; // Tests talk to this machine only.
  const command = [process.execPath, "test", "--isolate", ...apps.map(({ name }) => sourceFolder(name))];
  const ending = await runLimited(command, { cwd: ROOT, env, maxMs: TESTS_MAX_MS });
  return ending.timedOut ? 1 : (ending.exitCode ?? 1);
}

function selectApps(names: readonly string[], { ciOnly }: { readonly ciOnly: boolean }): readonly AppParts[] {
  const unknown = names.filter((name) => !APPS.some((app) => app.name === name));
  if (unknown.length > 0) throw new Error(`unknown application ${unknown.join(", ")}`);
  return APPS.filter((app) => (names.length === 0 || names.includes(app.name)) && (!ciOnly || app.inCi));
}

async function main(args: readonly string[]): Promise<number> {
  let selected: readonly AppParts[];
  let installsOnly: boolean;
  try {
    const { values, positionals } = parseArgs({ args: [...args], options: FLAGS, allowPositionals: true });
    if (values.help) {
      process.stdout.write(USAGE);
      return 0;
    }
    installsOnly = values.install;
    selected = selectApps(positionals, { ciOnly: values.ci });
  } catch (error) {
    console.error(`apps: ${error instanceof Error ? error.message : String(error)} (see --help)`);
    return 2;
  }
  const installed = await installAll(selected);
  const isComplete = installed.length === selected.length || process.env["CI"] !== "true";
  if (installsOnly || installed.length === 0) return isComplete ? 0 : 1;
  const code = await runTests(installed);
  return isComplete ? code : 1;
}

process.exitCode = await main(Bun.argv.slice(2));
