import type { Clock } from "../../clock.ts";
import { type FrameKind, FrameQueue } from "./frame-queue.ts";
import type { FrameRate } from "./frame-rates.ts";
import type { FrameScheduler, ScheduledLane, SliceResult } from "./frame-scheduler.ts";

/**
 * Frames of one direction that pass at once in one turn of the event loop. Further frames wait for the next turn, where
 * they share one write.
 */
const DIRECT_MAX_FRAMES = 8;

/** Frames that a lane passes on in one slice. With a thousand busy lanes, each gets its slice within half a second. */
const SLICE_MAX_FRAMES = 32;

/** With this many waiting frames the sender is no longer read. Frames in its receive buffer still arrive. */
const PAUSE_FRAMES = 256;
/** The same in bytes of memory. */
const PAUSE_BYTES = 256 * 1024;

/** The ends of a lane. Nothing here is called after `clear`. */
export interface LaneEnds {
  /** Passes a frame on. May call `block`. `nowMs`: monotonic time, so that nobody reads the clock a second time. */
  deliver(kind: FrameKind, data: string | Buffer, nowMs: number): void;
  /** Runs deliveries that may share one write. */
  batch(run: () => void): void;
  pauseSender(): void;
  resumeSender(): void;
  /** The memory that waiting frames hold has changed. */
  onHeldBytes(): void;
  /** Gets what was thrown while waiting frames were passed on. */
  fail(thrown: unknown): void;
}

/**
 * One direction of a tunnel. Frames pass at once while the turn, the rate and the receiver allow it. Otherwise they
 * wait in order, and the sender is paused. Only `clear` loses frames.
 */
export class FrameLane implements ScheduledLane {
  readonly #ends: LaneEnds;
  readonly #rate: FrameRate;
  readonly #clock: Clock;
  readonly #scheduler: FrameScheduler;
  /** Made when the first frame must wait. Most tunnels never need it. */
  #queue: FrameQueue | undefined;
  #turn = -1;
  #directFrames = 0;
  #isBlocked = false;
  #isPaused = false;
  #isScheduled = false;
  #isCleared = false;
  #onEnd: (() => void) | undefined;

  constructor(
    ends: LaneEnds,
    context: { readonly rate: FrameRate; readonly clock: Clock; readonly scheduler: FrameScheduler },
  ) {
    this.#ends = ends;
    this.#rate = context.rate;
    this.#clock = context.clock;
    this.#scheduler = context.scheduler;
  }

  /** Memory that waiting frames hold, in bytes. */
  get heldBytes(): number {
    return this.#queue?.heldBytes ?? 0;
  }

  /** Whether the sender is paused. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Whether nothing waits and nothing can come. */
  get isEnded(): boolean {
    return this.#isCleared;
  }

  /** Takes a frame that has arrived at `nowMs`, monotonic time. */
  push(kind: FrameKind, data: string | Buffer, nowMs: number): void {
    if (this.#isCleared || this.#onEnd !== undefined) return;
    const bytes = typeof data === "string" ? Buffer.byteLength(data) : data.length;
    if (this.#mayPassDirectly(bytes, nowMs)) return this.#ends.deliver(kind, data, nowMs);
    this.#queue ??= new FrameQueue();
    const before = this.#queue.heldBytes;
    this.#queue.push(kind, data, bytes);
    this.#regulate();
    this.#schedule();
    if (this.#queue.heldBytes !== before) this.#ends.onHeldBytes();
  }

  /** The receiver takes nothing for now. */
  block(): void {
    this.#isBlocked = true;
    this.#regulate();
  }

  /** The receiver takes frames again. */
  unblock(): void {
    if (!this.#isBlocked) return;
    this.#isBlocked = false;
    this.#regulate();
    this.#schedule();
  }

  /** Accepts no more frames. Calls `then` when all waiting frames have been passed on; at once if there are none. */
  end(then: () => void): void {
    if (this.#isCleared || this.#onEnd !== undefined) return;
    this.#onEnd = then;
    this.#endIfEmpty();
  }

  /** Drops everything that waits. */
  clear(): void {
    if (this.#isCleared) return;
    this.#isCleared = true;
    this.#onEnd = undefined;
    this.#queue = undefined;
    this.#ends.onHeldBytes();
  }

  passSlice(): SliceResult {
    this.#isScheduled = false;
    if (this.#waitingFrames() === 0 || this.#isBlocked) return "rest";
    let isLimited = false;
    try {
      const before = this.heldBytes;
      this.#ends.batch(() => (isLimited = this.#passFrames()));
      this.#regulate();
      if (this.heldBytes !== before) this.#ends.onHeldBytes();
      this.#endIfEmpty();
    } catch (thrown) {
      this.#ends.fail(thrown);
    }
    if (this.#waitingFrames() === 0 || this.#isBlocked) return "rest";
    this.#isScheduled = true;
    return isLimited ? "rate" : "more";
  }

  /** Passes frames on. Returns whether it stopped because the rate is used up. */
  #passFrames(): boolean {
    const now = this.#clock.monotonic();
    for (let passed = 0; passed < SLICE_MAX_FRAMES && this.#waitingFrames() > 0 && !this.#isBlocked; passed++) {
      if (!this.#rate.tryTake(now)) return true;
      const frame = this.#queue?.shift();
      if (frame === undefined) return false;
      this.#ends.deliver(frame.kind, frame.data, now);
      if (!this.#scheduler.trySpend(frame.data.length)) return false;
    }
    return false;
  }

  #mayPassDirectly(bytes: number, nowMs: number): boolean {
    if (this.#isBlocked || this.#waitingFrames() > 0) return false;
    const { turn } = this.#scheduler;
    if (turn !== this.#turn) {
      this.#turn = turn;
      this.#directFrames = 0;
    }
    if (this.#directFrames >= DIRECT_MAX_FRAMES || !this.#scheduler.trySpend(bytes)) return false;
    this.#directFrames++;
    return this.#rate.tryTake(nowMs);
  }

  #waitingFrames(): number {
    return this.#queue?.frames ?? 0;
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isBlocked || this.#waitingFrames() === 0) return;
    this.#isScheduled = true;
    this.#scheduler.schedule(this);
  }

  #regulate(): void {
    if (this.#isCleared) return;
    const frames = this.#waitingFrames();
    const bytes = this.heldBytes;
    if (!this.#isPaused && (this.#isBlocked || frames >= PAUSE_FRAMES || bytes >= PAUSE_BYTES)) {
      this.#isPaused = true;
      this.#ends.pauseSender();
    } else if (this.#isPaused && !this.#isBlocked && frames < PAUSE_FRAMES / 2 && bytes < PAUSE_BYTES / 2) {
      this.#isPaused = false;
      this.#ends.resumeSender();
    }
  }

  #endIfEmpty(): void {
    const then = this.#onEnd;
    if (then === undefined || this.#waitingFrames() > 0) return;
    this.clear();
    then();
  }
}
