import type { Clock, Timer } from "../clock.ts";
import { LatencyBuckets, quantileOf } from "./latency-buckets.ts";
import type { ProxyCells } from "./proxy-cells.ts";
import type { Activity } from "./sources.ts";

/** How often the counters are noted, in milliseconds. */
const NOTE_INTERVAL_MS = 1_000;
/** How many notes the recent window covers. */
const WINDOW_NOTES = 10;
/** Seconds of history. */
const HISTORY_SECONDS = 60;

/** The counters at one moment. */
interface Note {
  readonly atMs: number;
  readonly requests: number;
  readonly failed: number;
  readonly statuses: ReadonlyMap<string, number>;
  readonly refusals: ReadonlyMap<string, number>;
  readonly latencies: Float64Array;
  readonly delays: Float64Array;
}

/** Notes the counters each second, so that recent activity can be shown. The cost does not depend on the traffic. */
export class ActivityWatch {
  readonly #cells: ProxyCells;
  readonly #clock: Clock;
  readonly #notes: Note[] = [];
  readonly #history: { readonly requests: number; readonly failed: number }[] = [];
  #timer: Timer | undefined;

  constructor(cells: ProxyCells, clock: Clock) {
    this.#cells = cells;
    this.#clock = clock;
    this.#notes.push(this.#note());
    this.#wait();
  }

  stop(): void {
    this.#timer?.cancel();
  }

  read(): Activity {
    const now = this.#note();
    const then = this.#notes[0] ?? now;
    const seconds = (now.atMs - then.atMs) / 1_000;
    const latencies = new LatencyBuckets(now.latencies).since(then.latencies);
    const delays = now.delays.map((count, bucket) => count - (then.delays[bucket] ?? 0));
    const delayQuantile = (q: number) => quantileOf(delays, q, (bucket) => this.#delayBounds[bucket]);
    const { open } = this.#cells;
    return {
      windowMs: now.atMs - then.atMs,
      requestsPerSecond: seconds <= 0 ? 0 : (now.requests - then.requests) / seconds,
      failedPerSecond: seconds <= 0 ? 0 : (now.failed - then.failed) / seconds,
      p50Ms: latencies.quantile(0.5),
      p99Ms: latencies.quantile(0.99),
      requests: now.requests,
      open: open.requests,
      tunnels: open.tunnels,
      statuses: listCounts(now.statuses, then.statuses),
      refusals: listCounts(now.refusals, then.refusals),
      eventLoopDelayP50Ms: delayQuantile(0.5),
      eventLoopDelayP99Ms: delayQuantile(0.99),
      history: [...this.#history],
    };
  }

  get #delayBounds(): readonly number[] {
    return this.#cells.eventLoopDelays.at(undefined).bounds;
  }

  #wait(): void {
    this.#timer = this.#clock.setTimer(NOTE_INTERVAL_MS, () => {
      const note = this.#note();
      const last = this.#notes.at(-1) ?? note;
      this.#history.push({ requests: note.requests - last.requests, failed: note.failed - last.failed });
      if (this.#history.length > HISTORY_SECONDS) this.#history.shift();
      this.#notes.push(note);
      if (this.#notes.length > WINDOW_NOTES) this.#notes.shift();
      this.#wait();
    });
  }

  #note(): Note {
    const { requests, refusals, latencies, eventLoopDelays } = this.#cells;
    const statuses = new Map<string, number>();
    let all = 0;
    let failed = 0;
    for (const { labels, value } of requests.counts()) {
      const status = String(labels["http_status_code"]);
      statuses.set(status, (statuses.get(status) ?? 0) + value);
      all += value;
      if (status.startsWith("5")) failed += value;
    }
    const codes = new Map<string, number>();
    for (const { labels, value } of refusals.values()) codes.set(String(labels["code"]), value);
    return {
      atMs: this.#clock.monotonic(),
      requests: all,
      failed,
      statuses,
      refusals: codes,
      latencies: latencies.counts.slice(),
      delays: eventLoopDelays.at(undefined).counts.slice(),
    };
  }
}

function listCounts(now: ReadonlyMap<string, number>, then: ReadonlyMap<string, number>): Activity["statuses"] {
  return [...now]
    .map(([name, total]) => ({ name, total, recent: total - (then.get(name) ?? 0) }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}
