import type { BigIntStats } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, sleep } from "../clock.ts";
import type { Logger } from "../log/logger.ts";
import { FileSettler, type FilesView, type FileStamp } from "./file-settler.ts";
import { codeOf, messageOf } from "../values.ts";

/** What is at a watched path. Changes that have not settled are left out. */
export interface PathSnapshot {
  /** `missing` also for something that is neither a file nor a folder, such as a socket. */
  readonly state: "file" | "folder" | "missing" | "unreadable";
  /** The system's message for `unreadable`; otherwise empty. */
  readonly reason: string;
  /**
   * Path of a file → its signature (`fileSignature`). A file that is being written keeps its old signature; a new one
   * is missing.
   */
  readonly files: ReadonlyMap<string, string>;
}

/** A watch that can be ended. */
export interface PathWatch {
  /** Ends the watch. `onChange` is not called again. Idempotent. */
  stop(): void;
}

export interface WatchPathOptions {
  /**
   * Called once at the start, and then after files have changed, appeared or disappeared and have settled. One call at
   * a time. A call may bring no change. What it throws is logged.
   */
  readonly onChange: (snapshot: PathSnapshot) => void | Promise<void>;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Selects the entries of a folder by name. Default: all. Not used for a path that is a file. */
  readonly accept?: (name: string) => boolean;
}

/** The time between two polls while the files rest. */
const POLL_INTERVAL_MS = 100;
/** The same while a file is being written. */
const POLL_UNREST_MS = 50;
/** A pause lasts at least this many times as long as the poll before it, which bounds the cost of a huge folder. */
const POLL_PAUSE_FACTOR = 4;
/** The first report waits at most this long for files that are being written. */
const FIRST_WAIT_MAX_MS = 1000;
/**
 * A report waits at most this long for other changes to settle, so that a move between two files is one step. It covers
 * the difference between the two quiet times of `FileSettler`.
 */
const TOGETHER_MAX_MS = 200;
/** Entries of a folder that are read, in the order of their names. A folder with more is a mistake. */
const ENTRIES_MAX = 10_000;
/** Concurrent `stat` calls, at most. */
const STAT_BATCH = 64;

/**
 * Polls a file, or the files directly in a folder, with `stat`; links are followed. The path may appear later. Reports
 * files that were rewritten in place, replaced by rename, written slowly, removed, or swapped as a mounted ConfigMap or
 * Secret is (kubelet renames the link `..data`). A change is reported within a second of the last write: at most 0.1 s
 * until a poll finds it, 0.6 s of quiet, 0.05 s until the next poll, and 0.2 s for other changes. A huge folder, whose
 * polls take long, adds the time of its polls.
 */
export function watchPath(path: string, options: WatchPathOptions): PathWatch {
  const watcher = new PathWatcher(path, options);
  void watcher.run();
  return { stop: () => watcher.stop() };
}

class PathWatcher {
  readonly #path: string;
  readonly #options: WatchPathOptions;
  readonly #settler = new FileSettler<PathSnapshot["state"]>();
  readonly #stopped = new AbortController();
  #leftOut = 0;

  constructor(path: string, options: WatchPathOptions) {
    this.#path = path;
    this.#options = options;
  }

  stop(): void {
    this.#stopped.abort();
  }

  async run(): Promise<void> {
    const { clock } = this.#options;
    // Since when a report is due. The first report is due at once, even without files.
    let dueSince: number | undefined = clock.monotonic();
    let togetherMaxMs = FIRST_WAIT_MAX_MS;
    while (!this.#stopped.signal.aborted) {
      const startedAt = clock.monotonic();
      const view = await viewPath(this.#path, this.#options.accept);
      if (this.#stopped.signal.aborted) return;
      this.#logLeftOut(view.leftOut);
      const now = clock.monotonic();
      if (this.#settler.note(view, { nowMs: now, wallMs: clock.now() })) dueSince ??= now;
      if (dueSince !== undefined && (this.#settler.isAtRest() || now - dueSince >= togetherMaxMs)) {
        dueSince = undefined;
        togetherMaxMs = TOGETHER_MAX_MS;
        await this.#report(view.reason);
      }
      const pauseMs = this.#settler.isAtRest() ? POLL_INTERVAL_MS : POLL_UNREST_MS;
      await sleep(clock, Math.max(pauseMs, (now - startedAt) * POLL_PAUSE_FACTOR), this.#stopped.signal);
    }
  }

  async #report(reason: string): Promise<void> {
    try {
      await this.#options.onChange({ state: this.#settler.state(), reason, files: this.#settler.files() });
    } catch (error) {
      this.#options.logger.error("cannot apply changed files: correct them", {
        path: this.#path,
        error: messageOf(error),
      });
    }
  }

  #logLeftOut(leftOut: number): void {
    if (leftOut > 0 && this.#leftOut === 0) {
      const fields = { path: this.#path, max: ENTRIES_MAX, leftOut };
      this.#options.logger.error(
        "the folder has too many files, ignoring the last ones by name: move some away",
        fields,
      );
    }
    this.#leftOut = leftOut;
  }
}

interface PathView extends FilesView<PathSnapshot["state"]> {
  readonly reason: string;
  /** Entries beyond `ENTRIES_MAX`. */
  readonly leftOut: number;
}

async function viewPath(path: string, accept: ((name: string) => boolean) | undefined): Promise<PathView> {
  const nothing = { reason: "", files: new Map(), isComplete: true, leftOut: 0 } as const;
  try {
    const info = await stat(path, { bigint: true });
    if (info.isFile()) return { ...nothing, state: "file", files: new Map([[path, stampOf(info)]]) };
    if (!info.isDirectory()) return { ...nothing, state: "missing" };
    const names = (await readdir(path)).filter((name) => accept?.(name) ?? true).toSorted();
    const paths = names.slice(0, ENTRIES_MAX).map((name) => join(path, name));
    return { ...nothing, state: "folder", files: await viewFiles(paths), leftOut: names.length - paths.length };
  } catch (error) {
    if (isGone(error)) return { ...nothing, state: "missing" };
    return { ...nothing, state: "unreadable", reason: messageOf(error), isComplete: false };
  }
}

async function viewFiles(paths: readonly string[]): Promise<Map<string, FileStamp | undefined>> {
  const files = new Map<string, FileStamp | undefined>();
  for (let start = 0; start < paths.length; start += STAT_BATCH) {
    await Promise.all(
      paths.slice(start, start + STAT_BATCH).map(async (path) => {
        try {
          const info = await stat(path, { bigint: true });
          if (info.isFile()) files.set(path, stampOf(info));
        } catch (error) {
          if (!isGone(error)) files.set(path, undefined);
        }
      }),
    );
  }
  return files;
}

function stampOf(info: BigIntStats): FileStamp {
  return {
    signature: fileSignature(info),
    inode: info.ino,
    size: info.size,
    modifiedMs: Number(info.mtimeMs),
  };
}

/** A text that changes when a file may have changed: device, inode, size and times. */
export function fileSignature(info: BigIntStats): string {
  return `${info.dev}:${info.ino}:${info.size}:${info.mtimeNs}:${info.ctimeNs}`;
}

/** Whether an error says that there is nothing at a path. */
function isGone(error: unknown): boolean {
  return ["ENOENT", "ENOTDIR", "ELOOP"].includes(codeOf(error));
}
