import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runLimited } from "../steps/run-limited.ts";
import type { AppParts } from "./app-parts.ts";

const ROOT = join(import.meta.dir, "../../..");
/** Of one command; the largest application takes a minute on a quiet machine. */
const COMMAND_MAX_MS = 10 * 60_000;
/** Files of an application's folder that pin what it is installed from. */
const PIN_FILES = ["requirements.txt", "package.json", "bun.lock", "go.mod", "go.sum", "main.go", "build.sh"] as const;
/** In an application's cache: which pins are installed there. Written last. */
const MARKER = "installed";

/** The folder with an application's pins and what its test serves. */
export function sourceFolder(name: string): string {
  return join(ROOT, "test/e2e/apps", name);
}

/** Where an application is installed: `venv` has Python's, `node_modules` npm's, `bin` Go's. */
export function cacheFolder(name: string): string {
  return join(ROOT, ".cache/apps", name);
}

/** The Node.js that an application brings, because it needs another version than machines have. */
export function nodeProgram(name: string): string {
  return join(cacheFolder(name), `node_modules/node-linux-${process.arch}/bin/node`);
}

/** Whether this machine has an application in the pinned versions, and every program that it needs. */
export function isInstalled(app: AppParts): boolean {
  const marker = join(cacheFolder(app.name), MARKER);
  return listMissingPrograms(app).length === 0 && existsSync(marker) && readFileSync(marker, "utf8") === hashPins(app);
}

/** Programs that this machine lacks, as the Debian packages that bring them. */
export function listMissingPrograms(app: AppParts): readonly string[] {
  return Object.entries(app.programs).flatMap(([program, source]) => (Bun.which(program) === null ? [source] : []));
}

/** Installs the pinned versions of an application into the checkout's cache, once. Throws when that fails. */
export async function installApp(app: AppParts): Promise<void> {
  if (isInstalled(app)) return;
  const missing = listMissingPrograms(app);
  if (missing.length > 0) throw new Error(`programs are missing; get them with: apt-get install ${missing.join(" ")}`);
  const source = sourceFolder(app.name);
  const folder = cacheFolder(app.name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const file of listPins(app)) copyFileSync(join(source, file), join(folder, file));
  for (const command of listCommands(folder)) await run(command, folder);
  writeFileSync(join(folder, MARKER), hashPins(app));
}

function listCommands(folder: string): readonly (readonly string[])[] {
  const commands: string[][] = [];
  if (existsSync(join(folder, "requirements.txt"))) {
    const pip = [join(folder, "venv/bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    // Everything is pinned, so that nothing may come along.
    commands.push(["python3", "-m", "venv", "venv"], [...pip, "--no-deps", "-r", "requirements.txt"]);
  }
  if (existsSync(join(folder, "package.json"))) {
    commands.push([process.execPath, "install", "--frozen-lockfile", "--ignore-scripts"]);
  }
  if (existsSync(join(folder, "go.mod"))) commands.push(["go", "build", "-mod=readonly", "-o", "bin/server", "."]);
  // Last: it compiles what the package manager brought.
  if (existsSync(join(folder, "build.sh"))) commands.push(["bash", "build.sh"]);
  return commands;
}

async function run(command: readonly string[], cwd: string): Promise<void> {
  const ending = await runLimited([...command], { cwd, env: process.env, maxMs: COMMAND_MAX_MS });
  if (ending.exitCode !== 0 || ending.timedOut) throw new Error(`cannot run ${command.join(" ")}`);
}

function listPins(app: AppParts): readonly string[] {
  const files = new Set(readdirSync(sourceFolder(app.name)));
  return PIN_FILES.filter((file) => files.has(file));
}

/** Of the pins, and of the folder, whose path a virtual environment holds. */
function hashPins(app: AppParts): string {
  const hash = createHash("sha256").update(cacheFolder(app.name));
  for (const file of listPins(app)) hash.update(`\n${file}\n`).update(readFileSync(join(sourceFolder(app.name), file)));
  return hash.digest("hex");
}
