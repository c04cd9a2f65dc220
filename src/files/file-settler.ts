/** What `stat` says about a file. */
export interface FileStamp {
  /** Changes with content, inode and times. */
  readonly signature: string;
  readonly inode: bigint;
  /** Bytes. */
  readonly size: bigint;
  /** Wall-clock milliseconds of the last write. */
  readonly modifiedMs: number;
}

/** All watched files at one moment. */
export interface FilesView<State> {
  /** What is at the watched path: a file, a folder, nothing, … */
  readonly state: State;
  /** Path → stamp. Undefined: the file exists, but `stat` failed. */
  readonly files: ReadonlyMap<string, FileStamp | undefined>;
  /** Whether a file that is missing from `files` no longer exists. */
  readonly isComplete: boolean;
}

/** A changed file is reported after this long without another change, because files are written in pieces. */
const QUIET_MS = 400;
/** The same for a file that is empty or became shorter in place: its writer has truncated it and writes again. */
const QUIET_SHRUNK_MS = 600;
/** Views that must find a file unchanged. After a pause of this process the clock alone does not prove rest. */
const QUIET_VIEWS = 2;
/** A file that keeps changing is reported as it is after this long. */
const UNREST_MAX_MS = 10_000;

interface Watched {
  /** From the latest view. Undefined: the file was missing. */
  latest: FileStamp | undefined;
  /** As reported. Undefined: the file is new and not reported yet. */
  settled: FileStamp | undefined;
  /** When `latest` last changed; monotonic milliseconds. */
  changedAt: number;
  /** When `latest` began to differ from `settled`; monotonic milliseconds. */
  restlessSince: number;
  /** Views since `changedAt` that found the file unchanged. */
  quietViews: number;
}

/** Separates files at rest from files that are being written. Pure: each view brings its time. */
export class FileSettler<State> {
  readonly #files = new Map<string, Watched>();
  #latestState: State | undefined;
  #settledState: State | undefined;
  #stateChangedAt = 0;
  #hasView = false;

  /** Adds a view. Returns whether the result of `files` or `state` has changed. */
  note(view: FilesView<State>, time: { readonly nowMs: number; readonly wallMs: number }): boolean {
    let hasChanged = this.#noteState(view.state, time.nowMs);
    for (const [path, stamp] of view.files) {
      if (stamp !== undefined && this.#noteFile(path, stamp, time)) hasChanged = true;
    }
    if (view.isComplete) {
      for (const [path, file] of this.#files) {
        if (!view.files.has(path) && this.#noteGone(path, file, time.nowMs)) hasChanged = true;
      }
    }
    this.#hasView = true;
    return hasChanged;
  }

  /** Whether every change has settled. */
  isAtRest(): boolean {
    if (this.#latestState !== this.#settledState) return false;
    for (const file of this.#files.values()) if (file.latest !== file.settled) return false;
    return true;
  }

  /** Path → signature of every file when it last rested. */
  files(): ReadonlyMap<string, string> {
    const settled = new Map<string, string>();
    for (const [path, file] of this.#files) if (file.settled !== undefined) settled.set(path, file.settled.signature);
    return settled;
  }

  /** The state, as it was when it last rested. Throws before the first view. */
  state(): State {
    if (this.#settledState === undefined) throw new Error("The files have no state before the first view");
    return this.#settledState;
  }

  #noteState(state: State, nowMs: number): boolean {
    if (!this.#hasView) {
      this.#latestState = state;
      this.#settledState = state;
      return true;
    }
    if (state !== this.#latestState) {
      this.#latestState = state;
      this.#stateChangedAt = nowMs;
    }
    if (state === this.#settledState || nowMs - this.#stateChangedAt < QUIET_MS) return false;
    this.#settledState = state;
    return true;
  }

  #noteFile(path: string, stamp: FileStamp, time: { readonly nowMs: number; readonly wallMs: number }): boolean {
    const file = this.#files.get(path);
    if (file === undefined) {
      // The first view has nothing to compare with. Only a file with an old write time is known to be whole.
      const isWhole = !this.#hasView && Math.abs(time.wallMs - stamp.modifiedMs) > QUIET_SHRUNK_MS;
      const settled = isWhole ? stamp : undefined;
      const since = { changedAt: time.nowMs, restlessSince: time.nowMs, quietViews: 0 };
      this.#files.set(path, { latest: stamp, settled, ...since });
      return isWhole;
    }
    if (file.latest?.signature !== stamp.signature) {
      if (file.latest === file.settled) file.restlessSince = time.nowMs;
      file.latest = stamp;
      file.changedAt = time.nowMs;
      file.quietViews = 0;
    } else {
      file.quietViews += 1;
    }
    if (file.latest === file.settled) return false;
    const isQuiet = file.quietViews >= QUIET_VIEWS && time.nowMs - file.changedAt >= quietOf(stamp, file.settled);
    if (!isQuiet && time.nowMs - file.restlessSince < UNREST_MAX_MS) return false;
    file.settled = file.latest;
    return true;
  }

  /** A file that is being replaced can be missing for a moment. */
  #noteGone(path: string, file: Watched, nowMs: number): boolean {
    if (file.latest !== undefined) {
      if (file.latest === file.settled) file.restlessSince = nowMs;
      file.latest = undefined;
      file.changedAt = nowMs;
      file.quietViews = 0;
      return false;
    }
    file.quietViews += 1;
    if (file.quietViews < QUIET_VIEWS || nowMs - file.changedAt < QUIET_MS) return false;
    this.#files.delete(path);
    return file.settled !== undefined;
  }
}

function quietOf(stamp: FileStamp, settled: FileStamp | undefined): number {
  const isShrunk = settled !== undefined && settled.inode === stamp.inode && stamp.size < settled.size;
  return isShrunk || stamp.size === 0n ? QUIET_SHRUNK_MS : QUIET_MS;
}
