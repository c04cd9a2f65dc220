import type { Clock } from "../../clock.ts";

/**
 * What is read of a refused upload at most, in bytes, before its connection closes: many clients read no answer before they
 * have sent all. What the kernel's buffers take comes on top.
 */
export const UNREAD_BODY_MAX_BYTES = 2 * 1024 * 1024;

/** How long a refused upload is read at most, in milliseconds: so much later its answer comes. */
export const UNREAD_BODY_MAX_MS = 500;

/** Refused uploads that are read at a time; those beyond are answered and closed at once. */
export const UNREAD_BODIES_MAX = 64;

/** Reads the bodies of refused requests and drops them, so that their clients can read the answer (RFC 9112 §9.6). */
export class UnreadBodies {
  readonly #clock: Pick<Clock, "setTimer">;
  #open = 0;

  constructor(clock: Pick<Clock, "setTimer">) {
    this.#clock = clock;
  }

  /** Whether a request has a body that nobody has begun to read, and there is room to read it. */
  wants(request: Request): boolean {
    return this.#open < UNREAD_BODIES_MAX && request.body !== null && !request.bodyUsed;
  }

  /** Reads and drops until the body ends, or a limit is reached. Never rejects. */
  async drop(request: Request): Promise<void> {
    const body: ReadableStream<Uint8Array> | null = request.body;
    if (body === null) return;
    const reader = body.getReader();
    this.#open++;
    const late = Promise.withResolvers<undefined>();
    const timer = this.#clock.setTimer(UNREAD_BODY_MAX_MS, () => late.resolve(undefined));
    try {
      let bytes = 0;
      while (bytes < UNREAD_BODY_MAX_BYTES) {
        const read = await Promise.race([reader.read(), late.promise]);
        if (read === undefined || read.done) break;
        bytes += read.value.byteLength;
      }
    } catch {
      // The client has left, or its framing is invalid: there is nobody to read for.
    } finally {
      timer.cancel();
      this.#open--;
      void reader.cancel().catch(() => {});
    }
  }
}
