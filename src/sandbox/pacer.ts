import { type Clock, sleep } from "../clock.ts";

/** Milliseconds after which work makes room for others by default: a large file delays no request noticeably. */
const WORK_SLICE_MS = 8;

/** Work that yields between small pieces. */
export type SlicedWork<T> = Generator<void, T, undefined>;

/** Divides long work into slices, between which everybody else has a turn. */
export interface Pacer {
  /** To be called between small pieces of work: a promise to wait for when the slice is over, else undefined. */
  rest(): Promise<void> | undefined;
  /** Does the work in slices and gives what it returns. */
  run<T>(work: SlicedWork<T>): Promise<T>;
}

/**
 * @param options `pause`: resolves when the event loop has turned; default: a timer of the clock. `sliceMs`: after how many
 * milliseconds the work makes room; default: `WORK_SLICE_MS`.
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
