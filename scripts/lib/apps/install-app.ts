import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { runLimited } from "../steps/run-limited.ts";
import type { AppParts } from "./app-parts.ts";

const ROOT = join(import.meta.dir, "../../..");
/** Of one attempt at one application, in milliseconds; the largest takes a minute on a quiet machine. */
const ATTEMPT_MAX_MS = 5 * 60_000;
/** A registry can fail for a moment. What fails twice is no accident. */
const ATTEMPTS_MAX = 2;
/** Files of an application's folder that pin what it is installed from. */
const PIN_FILES = ["requirements.txt", "package.json", "bun.lock", "go.mod", "go.sum", "main.go", "build.sh"] as const;
/** In an application's cache: which pins are installed there. Written last. */
const MARKER = "installed";

/** The folder with an application's pins and what its test serves. */
export function sourceFolder(name: string): string {
  return join(ROOT, "test/e2e/apps", name);
}

/**
 * Where an application is installed: `venv` has Python's, `node_modules` npm's, `bin` Go's. Checkouts that share a cache by a
 * link get the same path, so that none installs again what another one has.
 */
export function cacheFolder(name: string): string {
  const cache = join(ROOT, ".cache");
  return join(existsSync(cache) ? realpathSync(cache) : cache, "apps", name);
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
  const folder = cacheFolder(app.name);
  await installPins(sourceFolder(app.name), folder);
  writeFileSync(join(folder, MARKER), hashPins(app));
}

/**
 * Empties `folder`, and installs there what the pins in `source` name. What fails is tried once more, from the beginning. Throws
 * when that fails too. An attempt that takes longer than `maxMs` milliseconds fails; its programs are killed.
 */
export async function installPins(source: string, folder: string, { maxMs = ATTEMPT_MAX_MS } = {}): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await attemptInstall(source, folder, { maxMs });
    } catch (error) {
      if (attempt >= ATTEMPTS_MAX) throw error;
      console.error(`${error instanceof Error ? error.message : String(error)}; trying once more`);
    }
  }
}

async function attemptInstall(source: string, folder: string, { maxMs }: { readonly maxMs: number }): Promise<void> {
  const deadline = performance.now() + maxMs;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const file of listPins(source)) copyFileSync(join(source, file), join(folder, file));
  for (const command of listCommands(folder)) {
    const leftMs = Math.max(1, deadline - performance.now());
    const { exitCode, timedOut } = await runLimited(command, { cwd: folder, env: process.env, maxMs: leftMs });
    if (timedOut) throw new Error(`not installed after ${maxMs / 1000} s: ${command.join(" ")}`);
    if (exitCode !== 0) throw new Error(`cannot run ${command.join(" ")}`);
  }
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

function listPins(source: string): readonly string[] {
  const files = new Set(readdirSync(source));
  return PIN_FILES.filter((file) => files.has(file));
}

/** Of the pins, and of the folder, whose path a virtual environment holds. */
function hashPins(app: AppParts): string {
  const hash = createHash("sha256").update(cacheFolder(app.name));
  const source = sourceFolder(app.name);
  for (const file of listPins(source)) hash.update(`\n${file}\n`).update(readFileSync(join(source, file)));
  return hash.digest("hex");
}
