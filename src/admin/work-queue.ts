/** How many pieces of work may wait: enough for several dashboards with several questions each. */
const WAITING_MAX = 16;

/** Does pieces of work one after the other. */
export class WorkQueue {
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /** Resolves to the result of the work. Returns undefined at once if `WAITING_MAX` others wait already. */
  run<T>(work: () => T | Promise<T>): Promise<T> | undefined {
    if (this.#waiting >= WAITING_MAX) return undefined;
    this.#waiting += 1;
    const done = this.#last.then(work).finally(() => (this.#waiting -= 1));
    this.#last = done.catch(() => {});
    return done;
  }
}
