/** Growth of resident memory, in bytes, in one look's time, that tells of a tunnel that takes in a message and never finishes it. */
export const HIDDEN_GROWTH_BYTES = 3 * 1024 * 1024;

/**
 * Growth up to which the memory of everything else counts as still, in bytes: what comes behind a pause of a connection is at most
 * 512 KiB for each of two sides.
 */
const STILL_GROWTH_BYTES = HIDDEN_GROWTH_BYTES / 2;

/**
 * How many times in a row memory must grow while a tunnel is read, and stay while none is, until the tunnel is taken for the cause.
 * Once is chance: answers of others come and go by megabytes in the same milliseconds. Measured with 30 quiet tunnels beside six
 * downloads of 30 MB: 16 of the quiet ones were ended in 20 s when once was enough.
 */
export const PROOFS_NEEDED = 3;

/** A tunnel that has finished a message within so many milliseconds is always read. */
const FINISHES_WITHIN_MS = 1_000;

/** What the restraint needs of a tunnel. */
export interface RestrainedTunnel {
  /** Monotonic ms of the last sign of life behind a whole message; undefined: no message has been whole yet. */
  readonly finishedAt: number | undefined;
  /** Runs a callback. What it throws ends the tunnel, and nothing else. */
  safely(run: () => void): void;
  /** Reads neither side until `release`. */
  hold(): void;
  release(): void;
  /** Ends it, because it holds too much memory. */
  endForMemory(): void;
}

/** What is known of the memory of the process. */
export interface MemoryLook {
  /** Whether it may become short. */
  readonly isShort: boolean;
  /** Resident memory in bytes, read at this look. */
  readonly residentBytes: number;
}

/** The tunnel that is watched, and what was seen so far. */
interface Trial<Tunnel> {
  readonly tunnel: Tunnel;
  /** Whether it is read until the next look. */
  readonly isReading: boolean;
  readonly residentBytes: number;
  readonly proofs: number;
}

/**
 * Bounds what tunnels hide while memory may become short: Bun does not show how much it has of a message that is not whole. Tunnels that
 * finish none are read one after the other. One during whose turn memory grows is read again, with pauses in which none is; where memory
 * grows only while it is read, it ends.
 */
export class Restraint<Tunnel extends RestrainedTunnel> {
  #isRestrained = false;
  /** Place of the next tunnel among those that wait for their turn. */
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

  /** How the trial goes on; undefined: it is over. */
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
