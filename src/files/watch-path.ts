import { type BigIntStats, watch } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type Clock, sleep } from "../clock.ts";
import type { Logger } from "../log/logger.ts";
import { FileSettler, type FileSight } from "./file-settler.ts";

/** What is at a watched path, as far as it has come to rest. */
export interface PathSnapshot {
  /** `missing` also where it is neither a file nor a folder. */
  readonly state: "file" | "folder" | "missing" | "unreadable";
  /** Why it is unreadable, in the system's words; else empty. */
  readonly reason: string;
  /**
   * Path of a file → a text that changes whenever the file may have. A file that is being written is shown as it was
   * before, and not at all when it is new.
   */
  readonly files: ReadonlyMap<string, string>;
}

/** A watch that can be ended. */
export interface PathWatch {
  /** Ends the watch; `onChange` is not called any more. Idempotent. */
  stop(): void;
}

export interface WatchPathOptions {
  /**
   * Called once at the start, and then whenever files have changed, appeared or gone and come to rest. May be called
   * without need; is not called again before it is done. Should not throw: what it throws is logged.
   */
  readonly onChange: (snapshot: PathSnapshot) => void | Promise<void>;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Which entries of a folder count, by name. Default: all. Does not apply to a path that is a file. */
  readonly accept?: (name: string) => boolean;
  /** Where notices of changes come from. A seam for tests. Default: the system, through `fs.watch`. */
  readonly listen?: FolderListen;
}

/**
 * Listens for changes of the entries of a folder. May throw; calls `on.error` when it cannot go on. Notices may be lost,
 * be too many or come for nothing.
 */
export type FolderListen = (
  path: string,
  on: { readonly notice: () => void; readonly error: (error: unknown) => void },
) => { close(): void };

const listenToSystem: FolderListen = (path, on) => {
  const watcher = watch(path, { persistent: false }, on.notice);
  watcher.on("error", on.error);
  return watcher;
};

/** How often is looked without being told: notices get lost, inotify runs out, network folders have none. */
const POLL_INTERVAL_MS = 250;
/** The same while a file is being written. */
const POLL_UNREST_MS = 50;
/** A pause is at least so many times as long as the look before it, so that a huge folder does not fill the time. */
const POLL_PAUSE_FACTOR = 4;
/** The shortest time between two looks: notices come in bursts. */
const NOTICE_DELAY_MS = 20;
/** How long the first call waits for files that are being written at the start. */
const FIRST_WAIT_MAX_MS = 1000;
/** How long a change waits for others that have not come to rest yet, so that moving between files is one step. */
const TOGETHER_MAX_MS = 300;
/** Entries of a folder that are looked at, in the order of their names; a folder of more is a mistake. */
const ENTRIES_MAX = 10_000;
/** How many entries are looked at together. */
const STAT_BATCH = 64;
/** How long after a failure the system's notices are asked for again. */
const NOTICES_RETRY_MS = 30_000;

/**
 * Watches a file, or the files directly in a folder, whether or not it exists yet: rewritten in place, replaced by
 * rename, written slowly, swapped as a mounted ConfigMap or Secret is (kubelet renames the link `..data`), gone and
 * back. What counts is what `stat` says, links followed; the system's notices only make it quick. A change is reported
 * 0.4 s after the last write (0.6 s for a file that became shorter in place), with others that are about to rest.
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
  readonly #notices: FolderNotices;
  #isStopped = false;
  #wake = new AbortController();
  #leftOut = 0;

  constructor(path: string, options: WatchPathOptions) {
    this.#path = path;
    this.#options = options;
    this.#notices = new FolderNotices(options, () => this.#wake.abort());
  }

  stop(): void {
    this.#isStopped = true;
    this.#wake.abort();
    this.#notices.close();
  }

  async run(): Promise<void> {
    const { clock } = this.#options;
    const startedAt = clock.monotonic();
    // When the first change came to rest that has not been reported; the first report is due in any case.
    let dueSince: number | undefined = startedAt;
    let togetherMaxMs = FIRST_WAIT_MAX_MS;
    while (!this.#isStopped) {
      const begunAt = clock.monotonic();
      // Before the look: a notice that comes during it asks for another one.
      this.#wake = new AbortController();
      const look = await lookAt(this.#path, this.#options.accept);
      if (this.#isStopped) return;
      this.#notices.follow(look.folder);
      this.#sayLeftOut(look.leftOut);
      const now = clock.monotonic();
      if (this.#settler.note(look, { nowMs: now, wallMs: clock.now() })) dueSince ??= now;
      if (dueSince !== undefined && (this.#settler.isAtRest() || now - dueSince >= togetherMaxMs)) {
        dueSince = undefined;
        togetherMaxMs = TOGETHER_MAX_MS;
        await this.#report(look.reason);
      }
      const pauseMs = this.#settler.isAtRest() ? POLL_INTERVAL_MS : POLL_UNREST_MS;
      await this.#pause(Math.max(pauseMs, (now - begunAt) * POLL_PAUSE_FACTOR));
    }
  }

  async #pause(pauseMs: number): Promise<void> {
    await sleep(this.#options.clock, NOTICE_DELAY_MS);
    if (!this.#wake.signal.aborted) await sleep(this.#options.clock, pauseMs - NOTICE_DELAY_MS, this.#wake.signal);
  }

  async #report(reason: string): Promise<void> {
    try {
      await this.#options.onChange({ state: this.#settler.state(), reason, files: this.#settler.files() });
    } catch (error) {
      this.#options.logger.error("a change of files could not be applied", { path: this.#path, error: String(error) });
    }
  }

  #sayLeftOut(leftOut: number): void {
    if (leftOut > 0 && this.#leftOut === 0) {
      const fields = { path: this.#path, max: ENTRIES_MAX, leftOut };
      this.#options.logger.error("a folder has too many files, the last ones are not read", fields);
    }
    this.#leftOut = leftOut;
  }
}

/** What one look saw. */
interface Look {
  readonly state: PathSnapshot["state"];
  readonly reason: string;
  /** Undefined for a file: it is there, but cannot be looked at now. */
  readonly files: ReadonlyMap<string, FileSight | undefined>;
  /** Whether what is not in `files` is known to be gone. */
  readonly isComplete: boolean;
  /** How many entries were not looked at because there are too many. */
  readonly leftOut: number;
  /** The folder in which changes show; never the file itself, which a rename replaces. */
  readonly folder: WatchedFolder | undefined;
}

interface WatchedFolder {
  readonly path: string;
  readonly inode: bigint;
}

async function lookAt(path: string, accept: ((name: string) => boolean) | undefined): Promise<Look> {
  const nothing = { reason: "", files: new Map(), isComplete: true, leftOut: 0, folder: undefined } as const;
  try {
    const info = await stat(path, { bigint: true });
    if (info.isFile()) {
      const parent = await stat(dirname(path), { bigint: true });
      const folder = { path: dirname(path), inode: parent.ino };
      return { ...nothing, state: "file", files: new Map([[path, sightOf(info)]]), folder };
    }
    if (!info.isDirectory()) return { ...nothing, state: "missing" };
    const names = (await readdir(path)).filter((name) => accept?.(name) ?? true).toSorted();
    const paths = names.slice(0, ENTRIES_MAX).map((name) => join(path, name));
    const files = await lookAtFiles(paths);
    const leftOut = names.length - paths.length;
    return { ...nothing, state: "folder", files, leftOut, folder: { path, inode: info.ino } };
  } catch (error) {
    if (isGone(error)) return { ...nothing, state: "missing" };
    return { ...nothing, state: "unreadable", reason: messageOf(error), isComplete: false };
  }
}

async function lookAtFiles(paths: readonly string[]): Promise<Map<string, FileSight | undefined>> {
  const files = new Map<string, FileSight | undefined>();
  for (let start = 0; start < paths.length; start += STAT_BATCH) {
    await Promise.all(
      paths.slice(start, start + STAT_BATCH).map(async (path) => {
        try {
          const info = await stat(path, { bigint: true });
          if (info.isFile()) files.set(path, sightOf(info));
        } catch (error) {
          if (!isGone(error)) files.set(path, undefined);
        }
      }),
    );
  }
  return files;
}

function sightOf(info: BigIntStats): FileSight {
  return {
    signature: fileSignature(info),
    inode: info.ino,
    size: info.size,
    modifiedMs: Number(info.mtimeMs),
  };
}

/** As in `PathSnapshot.files`: to see whether a file is still the one that was reported. */
export function fileSignature(info: BigIntStats): string {
  return `${info.dev}:${info.ino}:${info.size}:${info.mtimeNs}:${info.ctimeNs}`;
}

/** Whether an error says that there is nothing at a path. */
function isGone(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "ENOENT" || code === "ENOTDIR" || code === "ELOOP";
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The system's notices of changes in a folder, as far as it gives any. */
class FolderNotices {
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #listen: FolderListen;
  readonly #onNotice: () => void;
  #listener: { close(): void } | undefined;
  #folder: WatchedFolder | undefined;
  #retryAt = 0;
  #hasFailed = false;
  #isClosed = false;

  constructor(options: WatchPathOptions, onNotice: () => void) {
    this.#logger = options.logger;
    this.#clock = options.clock;
    this.#listen = options.listen ?? listenToSystem;
    this.#onNotice = onNotice;
  }

  /** Listens to this folder, and no other. A folder of the same path but another inode is another folder. */
  follow(folder: WatchedFolder | undefined): void {
    if (this.#isClosed) return;
    const isSame = folder?.path === this.#folder?.path && folder?.inode === this.#folder?.inode;
    if (isSame && (folder === undefined || this.#listener !== undefined || this.#clock.monotonic() < this.#retryAt)) {
      return;
    }
    this.#drop();
    this.#folder = folder;
    if (folder === undefined) return;
    try {
      const listener = this.#listen(folder.path, {
        notice: this.#onNotice,
        error: (error) => {
          if (this.#listener === listener) this.#fail(error);
        },
      });
      this.#listener = listener;
    } catch (error) {
      this.#fail(error);
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#drop();
  }

  #drop(): void {
    this.#listener?.close();
    this.#listener = undefined;
  }

  #fail(error: unknown): void {
    this.#drop();
    this.#retryAt = this.#clock.monotonic() + NOTICES_RETRY_MS;
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    this.#logger.warn("no notices of changed files from the system, looking regularly instead", {
      path: this.#folder?.path,
      intervalMs: POLL_INTERVAL_MS,
      error: messageOf(error),
    });
  }
}
