import type { Clock } from "../../clock.ts";

/**
 * The most work with frames in one turn of the event loop, in units: one for each frame, plus one for each
 * `BYTES_PER_UNIT` of it. A unit takes about 10 µs, so all tunnels together delay everything else by about 3 ms.
 */
const TURN_MAX_UNITS = 256;

/** The part of it for frames that waited. The rest is for new frames, so that a quiet tunnel stays quick. */
const TURN_MAX_WAITED_UNITS = 128;

/** Bytes that cost as much as a frame: half of what the fastest copy between two sockets moves in 10 µs. */
const BYTES_PER_UNIT = 16 * 1024;

/** How often lanes whose rate is used up are checked, in milliseconds. At the default rate 40 frames are due then. */
const RATE_POLL_MS = 10;

/**
 * The state of a lane after its slice: it has more frames, its rate is used up, or it calls `schedule` when it has
 * something to do.
 */
export type SliceResult = "more" | "rate" | "rest";

/** A lane in which frames wait. */
export interface ScheduledLane {
  /** Passes on a few waiting frames. Must not throw. */
  passSlice(): SliceResult;
}

/** Shares the turns of the event loop among all tunnels, so that no number of frames stops the rest of the program. */
export class FrameScheduler {
  readonly #clock: Clock;
  readonly #soon: (run: () => void) => void;
  #ready: ScheduledLane[] = [];
  #limited: ScheduledLane[] = [];
  #isPolling = false;
  #turn = 0;
  #usedUnits = 0;
  #isArmed = false;

  /** @param soon Calls back in the next turn of the event loop. */
  constructor(clock: Clock, soon: (run: () => void) => void = setImmediate) {
    this.#clock = clock;
    this.#soon = soon;
  }

  /** The number of this turn. It changes after each turn in which frames were passed on. */
  get turn(): number {
    return this.#turn;
  }

  /** Counts the work for a frame in this turn. False: the turn is used up, and the frame must wait. */
  trySpend(frameBytes: number): boolean {
    this.#arm();
    if (this.#usedUnits >= TURN_MAX_UNITS) return false;
    this.#usedUnits += 1 + Math.floor(frameBytes / BYTES_PER_UNIT);
    return true;
  }

  /**
   * Gives the lane a slice in the next turn. The lane calls this once, and again after a slice that returned `rest`.
   */
  schedule(lane: ScheduledLane): void {
    this.#ready.push(lane);
    this.#arm();
  }

  #arm(): void {
    if (this.#isArmed) return;
    this.#isArmed = true;
    this.#soon(() => this.#beginTurn());
  }

  #beginTurn(): void {
    this.#turn++;
    this.#isArmed = false;
    this.#usedUnits = 0;
    const lanes = this.#ready;
    if (lanes.length === 0) return;
    this.#ready = [];
    let next = 0;
    for (; next < lanes.length && this.#usedUnits < TURN_MAX_WAITED_UNITS; next++) {
      const lane = lanes[next];
      if (lane === undefined) continue;
      // Checking a lane that has nothing to pass on is work too.
      this.#usedUnits++;
      const result = lane.passSlice();
      if (result === "more") this.#ready.push(lane);
      else if (result === "rate") this.#limit(lane);
    }
    // Lanes that got no slice are first in the next turn.
    if (next < lanes.length) this.#ready = [...lanes.slice(next), ...this.#ready];
    if (this.#ready.length > 0) this.#arm();
  }

  #limit(lane: ScheduledLane): void {
    this.#limited.push(lane);
    if (this.#isPolling) return;
    this.#isPolling = true;
    this.#clock.setTimer(RATE_POLL_MS, () => {
      this.#isPolling = false;
      const lanes = this.#limited;
      this.#limited = [];
      for (const waiting of lanes) this.schedule(waiting);
    });
  }
}
