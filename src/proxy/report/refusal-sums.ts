import type { Clock } from "../../clock.ts";

/**
 * How long equal refusals are counted before a line is written, in milliseconds: about one line per second for each
 * kind.
 */
const SUM_MS = 1_000;
/**
 * How many kinds are counted separately at a time. Clients choose the ids that they ask for, so they could make any
 * number of kinds. Further kinds are counted by their outcome alone. At most this many lines come at once, and this
 * many more each second.
 */
export const REFUSAL_KINDS_MAX = 100;

/** Refusals with equal fields are equal. */
export interface RefusalKind {
  readonly status: number;
  readonly code?: string | undefined;
  readonly sandboxId?: string | undefined;
}

export interface RefusalSumsOptions<Entry extends RefusalKind> {
  readonly clock: Clock;
  /** Writes a refusal. `times`: how many refusals the line stands for; `entry` is the last of them. */
  readonly write: (entry: Entry, times: number) => void;
  /** Writes how many refusals with this outcome came from sandboxes beyond the limit. */
  readonly writeOthers: (kind: RefusalKind, times: number) => void;
}

interface Sum<Entry> {
  /** Refusals since the last line. */
  times: number;
  last: Entry;
}

/**
 * Writes the first refusal of its kind at once. Further ones become one line per second with their number, until a
 * second passes without any. So nobody fills the log by asking again and again.
 */
export class RefusalSums<Entry extends RefusalKind> {
  readonly #options: RefusalSumsOptions<Entry>;
  readonly #sums = new Map<string, Sum<Entry>>();
  /** By outcome. There are at most as many outcomes as codes plus statuses from 500 to 599. */
  readonly #others = new Map<string, Sum<RefusalKind>>();
  #isCounting = false;

  constructor(options: RefusalSumsOptions<Entry>) {
    this.#options = options;
  }

  add(entry: Entry): void {
    const outcome = entry.code ?? String(entry.status);
    const key = `${outcome} ${entry.sandboxId ?? ""}`;
    const sum = this.#sums.get(key);
    if (sum !== undefined) {
      sum.times += 1;
      sum.last = entry;
    } else if (this.#sums.size < REFUSAL_KINDS_MAX) {
      this.#sums.set(key, { times: 0, last: entry });
      this.#options.write(entry, 1);
    } else {
      const { status, code } = entry;
      const others = this.#others.get(outcome) ?? { times: 0, last: { status, code } };
      others.times += 1;
      this.#others.set(outcome, others);
    }
    if (!this.#isCounting) this.#beginSecond();
  }

  /** Writes what is not written yet. */
  flush(): void {
    for (const sum of this.#sums.values()) {
      if (sum.times > 0) this.#options.write(sum.last, sum.times);
      sum.times = 0;
    }
    for (const { last, times } of this.#others.values()) this.#options.writeOthers(last, times);
    this.#others.clear();
  }

  #beginSecond(): void {
    this.#isCounting = true;
    this.#options.clock.setTimer(SUM_MS, () => this.#endSecond());
  }

  #endSecond(): void {
    this.#isCounting = false;
    for (const [key, sum] of this.#sums) if (sum.times === 0) this.#sums.delete(key);
    this.flush();
    if (this.#sums.size > 0) this.#beginSecond();
  }
}
