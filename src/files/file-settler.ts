/** What one look saw of a file. */
export interface FileSight {
  /** Changes with content, inode and times. */
  readonly signature: string;
  readonly inode: bigint;
  /** Bytes. */
  readonly size: bigint;
  /** Wall-clock milliseconds of the last write. */
  readonly modifiedMs: number;
}

/** A look at all the files that there are. */
export interface FilesLook<State> {
  /** What the files are in: a folder, nothing, … */
  readonly state: State;
  /** Path → what was seen; undefined: it is there, but nothing can be said of it. */
  readonly files: ReadonlyMap<string, FileSight | undefined>;
  /** Whether what is not in `files` is known to be gone. */
  readonly isComplete: boolean;
}

/** A file is taken after it has rested for so long: files are written in pieces. Well under a second in all. */
const QUIET_MS = 400;
/** The same for one that is empty, or became shorter in place: it was cut and is being written again. */
const QUIET_SHRUNK_MS = 600;
/**
 * At least so many looks must have found a file unchanged: when this program was stopped for a while, time alone says
 * nothing of how long a file has rested.
 */
const QUIET_LOOKS = 2;
/** A file that never rests is taken as it is after so long, so that it does not wait for ever. */
const UNREST_MAX_MS = 10_000;

interface Watched {
  /** The last look's; undefined: it was not there. */
  seen: FileSight | undefined;
  /** As it is reported; undefined: it is not, it is new. */
  settled: FileSight | undefined;
  /** When `seen` came to be, and when it first differed from `settled`; monotonic milliseconds. */
  changedAt: number;
  restlessSince: number;
  /** How many looks since `changedAt` found it the same. */
  quietLooks: number;
}

/**
 * Tells files that have come to rest from those that are being written, from looks at them alone. Pure: time comes with
 * each look.
 */
export class FileSettler<State> {
  readonly #files = new Map<string, Watched>();
  #seenState: State | undefined;
  #settledState: State | undefined;
  #stateChangedAt = 0;
  #hasLooked = false;

  /** Takes a look in, and says whether what `files` or `state` give has changed. */
  note(look: FilesLook<State>, time: { readonly nowMs: number; readonly wallMs: number }): boolean {
    let hasChanged = this.#noteState(look.state, time.nowMs);
    for (const [path, sight] of look.files) {
      if (sight !== undefined && this.#noteFile(path, sight, time)) hasChanged = true;
    }
    if (look.isComplete) {
      for (const [path, file] of this.#files) {
        if (!look.files.has(path) && this.#noteGone(path, file, time.nowMs)) hasChanged = true;
      }
    }
    this.#hasLooked = true;
    return hasChanged;
  }

  /** Whether nothing is waiting to settle. */
  isAtRest(): boolean {
    if (this.#seenState !== this.#settledState) return false;
    for (const file of this.#files.values()) if (file.seen !== file.settled) return false;
    return true;
  }

  /** Path → signature of every file, as it was when it last rested. */
  files(): ReadonlyMap<string, string> {
    const settled = new Map<string, string>();
    for (const [path, file] of this.#files) if (file.settled !== undefined) settled.set(path, file.settled.signature);
    return settled;
  }

  /** The state, as it was when it last rested. Throws before the first look. */
  state(): State {
    if (this.#settledState === undefined) throw new Error("Cannot tell the state: nothing has been looked at");
    return this.#settledState;
  }

  #noteState(state: State, nowMs: number): boolean {
    if (!this.#hasLooked) {
      this.#seenState = state;
      this.#settledState = state;
      return true;
    }
    if (state !== this.#seenState) {
      this.#seenState = state;
      this.#stateChangedAt = nowMs;
    }
    if (state === this.#settledState || nowMs - this.#stateChangedAt < QUIET_MS) return false;
    this.#settledState = state;
    return true;
  }

  #noteFile(path: string, sight: FileSight, time: { readonly nowMs: number; readonly wallMs: number }): boolean {
    const file = this.#files.get(path);
    if (file === undefined) {
      // Nobody saw what went before: only a file that was written long enough ago is known to be whole.
      const isWhole = !this.#hasLooked && Math.abs(time.wallMs - sight.modifiedMs) > QUIET_SHRUNK_MS;
      const settled = isWhole ? sight : undefined;
      const since = { changedAt: time.nowMs, restlessSince: time.nowMs, quietLooks: 0 };
      this.#files.set(path, { seen: sight, settled, ...since });
      return isWhole;
    }
    if (file.seen?.signature !== sight.signature) {
      if (file.seen === file.settled) file.restlessSince = time.nowMs;
      file.seen = sight;
      file.changedAt = time.nowMs;
      file.quietLooks = 0;
    } else {
      file.quietLooks += 1;
    }
    if (file.seen === file.settled) return false;
    const isQuiet = file.quietLooks >= QUIET_LOOKS && time.nowMs - file.changedAt >= quietOf(sight, file.settled);
    if (!isQuiet && time.nowMs - file.restlessSince < UNREST_MAX_MS) return false;
    file.settled = file.seen;
    return true;
  }

  /** Files also go for a moment only, when they are replaced. */
  #noteGone(path: string, file: Watched, nowMs: number): boolean {
    if (file.seen !== undefined) {
      if (file.seen === file.settled) file.restlessSince = nowMs;
      file.seen = undefined;
      file.changedAt = nowMs;
      file.quietLooks = 0;
      return false;
    }
    file.quietLooks += 1;
    if (file.quietLooks < QUIET_LOOKS || nowMs - file.changedAt < QUIET_MS) return false;
    this.#files.delete(path);
    return file.settled !== undefined;
  }
}

function quietOf(sight: FileSight, settled: FileSight | undefined): number {
  const isShrunk = settled !== undefined && settled.inode === sight.inode && sight.size < settled.size;
  return isShrunk || sight.size === 0n ? QUIET_SHRUNK_MS : QUIET_MS;
}
