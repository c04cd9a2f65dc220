import { readFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { isObject } from "../../../src/values.ts";

/** The machine. Without it, the numbers mean nothing. */
export interface Machine {
  readonly date: string;
  readonly processor: string;
  readonly cores: number;
  readonly memoryGb: number;
  readonly kernel: string;
  /**
   * The beginning of the SHA-256 of the measured binary, so that two builds of one version differ; `source` if none.
   */
  readonly binary: string;
  readonly versions: Readonly<Record<string, string>>;
}

/** Enough to tell builds apart. */
const HASH_SHOWN_CHARS = 12;

const VERSION_COMMANDS: Readonly<Record<string, readonly string[]>> = {
  nginx: ["nginx", "-v"],
  haproxy: ["haproxy", "-v"],
  caddy: ["caddy", "version"],
  wrk: ["wrk", "-v"],
  h2load: ["h2load", "--version"],
};

/**
 * @param binary The path of the measured ingress. Default: it runs from its source.
 * @param goBinary The path of the Go ingress, if it is measured, too.
 */
export function describeMachine(binary?: string, goBinary?: string): Machine {
  const versions: Record<string, string> = { bun: Bun.version };
  const commands = binary === undefined ? VERSION_COMMANDS : { ...VERSION_COMMANDS, ingress: [binary, "--version"] };
  if (goBinary !== undefined) versions["go ingress"] = hashOf(goBinary);
  for (const [name, command] of Object.entries(commands)) {
    const version = readVersion(command);
    if (version !== undefined) versions[name] = version;
  }
  return {
    date: new Date().toISOString().slice(0, 16),
    processor: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 1e9),
    kernel: release(),
    binary: binary === undefined ? "source" : hashOf(binary),
    versions,
  };
}

/** Reads a machine that was written as JSON. Throws an Error if it is something else. */
export function parseMachine(value: unknown): Machine {
  const versions = isObject(value) ? value["versions"] : undefined;
  if (!isObject(value) || !isObject(versions)) throw new Error("no results of ./scripts/bench: no machine");
  return {
    date: String(value["date"]),
    processor: String(value["processor"]),
    cores: Number(value["cores"]),
    memoryGb: Number(value["memoryGb"]),
    kernel: String(value["kernel"]),
    binary: String(value["binary"]),
    versions: Object.fromEntries(Object.entries(versions).map(([name, version]) => [name, String(version)])),
  };
}

function readVersion(command: readonly string[]): string | undefined {
  if (Bun.which(command[0] ?? "") === null) return undefined;
  const { stdout, stderr } = Bun.spawnSync([...command]);
  return /\d+\.\d+(?:\.\d+)?/.exec(`${stdout.toString()} ${stderr.toString()}`)?.[0];
}

function hashOf(path: string): string {
  return new Bun.CryptoHasher("sha256").update(readFileSync(path)).digest("hex").slice(0, HASH_SHOWN_CHARS);
}
