import { type Clock, sleep } from "../clock.ts";

/** Work pauses after this time by default, in milliseconds, so that a large file does not noticeably delay requests. */
const WORK_SLICE_MS = 8;

/** Work that yields between small pieces. */
export type SlicedWork<T> = Generator<void, T, undefined>;

/** Divides long work into slices. Other work runs between them. */
export interface Pacer {
  /** Call it between small pieces of work. Returns a promise to wait for when the slice is over, else undefined. */
  rest(): Promise<void> | undefined;
  /** Does the work in slices and resolves with its result. */
  run<T>(work: SlicedWork<T>): Promise<T>;
}

/**
 * @param options `pause`: resolves after one turn of the event loop; default: a timer of the clock. `sliceMs`: after how many
 * milliseconds the work pauses; default: `WORK_SLICE_MS`.
 */
export function createPacer(
  clock: Clock,
  options: { readonly pause?: () => Promise<void>; readonly sliceMs?: number } = {},
): Pacer {
  const pause = options.pause ?? (() => sleep(clock, 0));
  const sliceMs = options.sliceMs ?? WORK_SLICE_MS;
  let sliceStartMs = clock.monotonic();
  const turn = async (): Promise<void> => {
    await pause();
    sliceStartMs = clock.monotonic();
  };
  const rest = () => (clock.monotonic() - sliceStartMs < sliceMs ? undefined : turn());
  return {
    rest,
    async run(work) {
      for (;;) {
        const step = work.next();
        if (step.done === true) return step.value;
        const over = rest();
        if (over !== undefined) await over;
      }
    },
  };
}
