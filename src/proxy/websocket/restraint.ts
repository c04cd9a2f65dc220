/**
 * Growth of resident memory between two checks, in bytes, that indicates a tunnel that receives a message and never
 * finishes it.
 */
export const HIDDEN_GROWTH_BYTES = 3 * 1024 * 1024;

/**
 * Growth up to which other memory counts as unchanged, in bytes. What arrives after a connection is paused is at most
 * 512 KiB for each of two sides.
 */
const STILL_GROWTH_BYTES = HIDDEN_GROWTH_BYTES / 2;

/**
 * How many times in a row memory must grow while a tunnel is read, and stay unchanged while none is read, until the
 * tunnel is taken for the cause. Once may be chance: answers of others come and go by megabytes in the same
 * milliseconds. Measured with 30 quiet tunnels beside six downloads of 30 MB: with a limit of one, 16 of the quiet
 * tunnels were ended in 20 s.
 */
export const PROOFS_NEEDED = 3;

/** A tunnel that has finished a message within this many milliseconds is always read. */
const FINISHES_WITHIN_MS = 1_000;

/** What the restraint needs from a tunnel. */
export interface RestrainedTunnel {
  /** Monotonic ms of the last sign of life after a whole message; undefined: no message is whole yet. */
  readonly finishedAt: number | undefined;
  /** Runs a callback. If it throws, only this tunnel ends. */
  safely(run: () => void): void;
  /** Stops reading both sides until `release`. */
  hold(): void;
  release(): void;
  /** Ends the tunnel because it holds too much memory. */
  endForMemory(): void;
}

/** What is known about the memory of the process. */
export interface MemoryLook {
  /** Whether it may become short. */
  readonly isShort: boolean;
  /** Resident memory in bytes at this check. */
  readonly residentBytes: number;
}

/** The tunnel that is being watched, and the observations so far. */
interface Trial<Tunnel> {
  readonly tunnel: Tunnel;
  /** Whether it is read until the next check. */
  readonly isReading: boolean;
  readonly residentBytes: number;
  readonly proofs: number;
}

/**
 * Limits the hidden memory of tunnels while memory may become short. Bun does not show how much it holds of an
 * unfinished message. So tunnels that finish no message are read one after the other. If memory grows while one of them
 * is read, that one is read again, with pauses in which none is read. If memory grows only while it is read, it ends.
 */
export class Restraint<Tunnel extends RestrainedTunnel> {
  #isRestrained = false;
  /** Index of the next tunnel among those that wait to be read. */
  #turn = 0;
  #trial: Trial<Tunnel> | undefined;

  /**
   * Called every few tens of milliseconds.
   * @param open All open tunnels.
   */
  look(open: ReadonlySet<Tunnel>, nowMs: number, { isShort, residentBytes }: MemoryLook): void {
    if (!isShort && !this.#isRestrained) return;
    this.#isRestrained = isShort;
    let trial = this.#judge(open, residentBytes);
    const waiting: Tunnel[] = [];
    for (const tunnel of open) {
      const mayRead = !isShort || nowMs - (tunnel.finishedAt ?? Number.NEGATIVE_INFINITY) < FINISHES_WITHIN_MS;
      tunnel.safely(() => (mayRead ? tunnel.release() : tunnel.hold()));
      if (!mayRead) waiting.push(tunnel);
      else if (trial?.tunnel === tunnel) trial = undefined;
    }
    this.#trial = trial ?? this.#begin(waiting, residentBytes);
    const reader = this.#trial?.isReading === true ? this.#trial.tunnel : undefined;
    reader?.safely(() => reader.release());
  }

  #begin(waiting: readonly Tunnel[], residentBytes: number): Trial<Tunnel> | undefined {
    if (this.#turn >= waiting.length) this.#turn = 0;
    const tunnel = waiting[this.#turn++];
    return tunnel === undefined ? undefined : { tunnel, isReading: true, residentBytes, proofs: 0 };
  }

  /** The next state of the trial; undefined: it is over. */
  #judge(open: ReadonlySet<Tunnel>, residentBytes: number): Trial<Tunnel> | undefined {
    const trial = this.#trial;
    if (trial === undefined || !open.has(trial.tunnel)) return undefined;
    const { tunnel, isReading } = trial;
    const growth = residentBytes - trial.residentBytes;
    if (isReading) {
      return growth < HIDDEN_GROWTH_BYTES ? undefined : { ...trial, isReading: false, residentBytes };
    }
    if (growth > STILL_GROWTH_BYTES) return undefined;
    const proofs = trial.proofs + 1;
    if (proofs < PROOFS_NEEDED) return { tunnel, isReading: true, residentBytes, proofs };
    tunnel.safely(() => tunnel.endForMemory());
    return undefined;
  }
}
