/** Pieces of work that wait for one that is being done: several dashboards, each with several questions. */
const WAITING_MAX = 16;

/** Does one piece of work after the other. */
export class WorkQueue {
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /** What the work gives; undefined, at once, where `WAITING_MAX` others wait already. */
  run<T>(work: () => T | Promise<T>): Promise<T> | undefined {
    if (this.#waiting >= WAITING_MAX) return undefined;
    this.#waiting += 1;
    const done = this.#last.then(work).finally(() => (this.#waiting -= 1));
    this.#last = done.catch(() => {});
    return done;
  }
}
