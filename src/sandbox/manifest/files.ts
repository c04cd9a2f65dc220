import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import type { Logger } from "../../log/logger.ts";
import { fileSignature } from "../../files/watch-path.ts";
import type { EndpointRules } from "../projection/endpoint-rules.ts";
import type { SandboxKind } from "../projection/kinds.ts";
import type { SandboxRecord } from "../provider.ts";
import { ManifestError, type ManifestObject } from "./manifest-error.ts";
import type { Pacer } from "../pacer.ts";
import { readManifest } from "./read.ts";
import { codeOf, messageOf } from "../../values.ts";
import { quote } from "../../log/quote.ts";

/** A sandbox in a manifest. */
export interface ManifestEntry {
  readonly record: SandboxRecord;
  /** Whether the manifest has no uid. If so, `record.uid` has no meaning. */
  readonly lacksUid: boolean;
  readonly path: string;
  /** From 1. */
  readonly line: number;
}

interface ManifestFile {
  /** As the watch reported it when the file was read. */
  signature: string;
  /** Digest of the content that was last read, usable or not. */
  digest: string;
  entries: readonly ManifestEntry[];
}

export interface ManifestFilesOptions {
  readonly kind: SandboxKind;
  /** Objects of other namespaces are skipped. Empty: all namespaces. */
  readonly namespaces: readonly string[];
  readonly endpoints: EndpointRules;
  readonly logger: Logger;
  readonly shareNamespace: (namespace: string) => string;
  readonly pacer: Pacer;
}

/** About 150,000 sandboxes. A larger file is a mistake and is not read. */
const FILE_MAX_BYTES = 32 * 1024 * 1024;

const DEFAULT_NAMESPACE = "default";
const NO_UID = "none";

/** The sandboxes of each manifest file, from the last time that the whole file could be read. */
export class ManifestFiles {
  readonly #options: ManifestFilesOptions;
  readonly #files = new Map<string, ManifestFile>();

  constructor(options: ManifestFilesOptions) {
    this.#options = options;
  }

  /**
   * Reads the files that have changed and forgets those that are gone. A file that cannot be read or used keeps its
   * entries and is logged once. A file that changes while it is read waits for the next call; the watch triggers that
   * call. Returns whether no file waits.
   *
   * @param files Path → signature, as a watch reports them.
   */
  async update(files: ReadonlyMap<string, string>): Promise<boolean> {
    let isWhole = true;
    for (const path of this.#files.keys()) if (!files.has(path)) this.#files.delete(path);
    for (const [path, signature] of [...files].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
      const known = this.#files.get(path);
      if (known?.signature === signature) continue;
      if (!(await this.#read(path, signature))) isWhole = false;
      await this.#options.pacer.rest();
    }
    return isWhole;
  }

  /** The entries of all files, in the order of paths and then of lines. */
  *entries(): Generator<ManifestEntry, void, undefined> {
    for (const path of [...this.#files.keys()].toSorted()) yield* this.#files.get(path)?.entries ?? [];
  }

  /** Returns false if the file no longer has this signature. */
  async #read(path: string, signature: string): Promise<boolean> {
    const known = this.#files.get(path);
    const file: ManifestFile = known ?? { signature: "", digest: "", entries: [] };
    try {
      const bytes = await readSettled(path, signature);
      if (bytes === undefined) return false;
      file.signature = signature;
      this.#files.set(path, file);
      const digest = createHash("sha256").update(bytes).digest("hex");
      if (digest === file.digest) return true;
      file.digest = digest;
      file.entries = await this.#project(path, decode(bytes));
    } catch (error) {
      file.signature = signature;
      this.#files.set(path, file);
      this.#options.logger.error("cannot read a manifest, keeping its earlier sandboxes", {
        file: path,
        ...(error instanceof ManifestError ? { line: error.line } : {}),
        reason: messageOf(error),
      });
    }
    return true;
  }

  async #project(path: string, text: string): Promise<readonly ManifestEntry[]> {
    const entries: ManifestEntry[] = [];
    const { pacer } = this.#options;
    for (const object of await readManifest(text, { pacer })) {
      const rest = pacer.rest();
      if (rest !== undefined) await rest;
      if (!this.#isOurs(path, object)) continue;
      let lacksUid = false;
      const { record, warning } = this.#options.kind.project(object.value, {
        endpoints: this.#options.endpoints,
        defaultNamespace: DEFAULT_NAMESPACE,
        missingUid: () => {
          lacksUid = true;
          return NO_UID;
        },
        shareNamespace: this.#options.shareNamespace,
      });
      const where = { file: path, line: object.line };
      if (record === undefined) {
        if (warning === undefined) continue;
        this.#options.logger.error("ignored an object of a manifest", { ...where, reason: warning });
        continue;
      }
      if (warning !== undefined) {
        const fields = { ...where, namespace: record.namespace, name: record.name, reason: warning };
        this.#options.logger.warn(
          record.ready
            ? "an annotation of a sandbox is invalid"
            : "a sandbox is not ready because its resource is invalid",
          fields,
        );
      }
      const { namespaces } = this.#options;
      if (namespaces.length > 0 && !namespaces.includes(record.namespace)) continue;
      entries.push({ record, lacksUid, path, line: object.line });
    }
    return entries;
  }

  #isOurs(path: string, object: ManifestObject): boolean {
    const { apiVersion, kind } = { apiVersion: object.value["apiVersion"], kind: object.value["kind"] };
    const { group, versions, kind: wanted } = this.#options.kind;
    const where = { file: path, line: object.line };
    if (kind !== wanted || typeof apiVersion !== "string" || !apiVersion.startsWith(`${group}/`)) {
      this.#options.logger.debug("skipped an object of another kind", { ...where, kind: quote(kind) });
      return false;
    }
    if (versions.includes(apiVersion.slice(group.length + 1))) return true;
    const reason = `apiVersion ${quote(apiVersion)} is unknown`;
    this.#options.logger.error("ignored an object of a manifest", { ...where, reason });
    return false;
  }
}

/** The content of a file that still has this signature; undefined if it has changed or gone. */
async function readSettled(path: string, signature: string): Promise<Uint8Array | undefined> {
  let file;
  try {
    file = await open(path, "r");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
  try {
    const before = await file.stat({ bigint: true });
    if (before.size > BigInt(FILE_MAX_BYTES)) throw new Error(`the file is larger than ${FILE_MAX_BYTES} bytes`);
    const bytes = await file.readFile();
    const after = await file.stat({ bigint: true });
    return fileSignature(before) === signature && fileSignature(after) === signature ? bytes : undefined;
  } finally {
    await file.close();
  }
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Error("the file is not UTF-8");
  }
}
