const TRACE_ID_BYTES = 16;
const SPAN_ID_BYTES = 8;
/** Random bytes that are fetched at once: a call for each id would cost more than everything else. */
const POOL_BYTES = 4_096;
const ZEROS = /^0+$/;

/** Makes ids of traces and spans. */
export interface SpanIds {
  /** 32 lower-case hexadecimal digits, not all zero. */
  nextTraceId(): string;
  /** 16 lower-case hexadecimal digits, not all zero. */
  nextSpanId(): string;
}

/** @param fill Fills a buffer with random bytes. Default: the system's. */
export function createSpanIds(
  fill: (bytes: Uint8Array<ArrayBuffer>) => void = (bytes) => void crypto.getRandomValues(bytes),
): SpanIds {
  const pool = Buffer.alloc(POOL_BYTES);
  let used = POOL_BYTES;
  const next = (length: number): string => {
    for (;;) {
      if (used + length > POOL_BYTES) {
        fill(pool);
        used = 0;
      }
      const id = pool.toString("hex", used, used + length);
      used += length;
      // All zero means that there is no id (W3C Trace Context §3.2.2.3).
      if (!ZEROS.test(id)) return id;
    }
  };
  return { nextTraceId: () => next(TRACE_ID_BYTES), nextSpanId: () => next(SPAN_ID_BYTES) };
}
