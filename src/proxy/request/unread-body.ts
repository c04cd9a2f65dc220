import type { Clock } from "../../clock.ts";

/** At most this many bytes of a refused upload are read before its answer: as many as Go's server reads. */
export const UNREAD_BODY_MAX_BYTES = 256 * 1024;

/** At most this many milliseconds a refused upload is read before its answer. The answer may be this late. */
export const UNREAD_BODY_MAX_MS = 500;

/**
 * How long a connection stays open after the answer to an unfinished upload, in milliseconds, as with Go's server. A
 * client that is still sending can read the answer in that time. If the connection closed at once, it would be reset,
 * and the answer lost.
 */
export const LINGER_MS = 500;

/**
 * How many refused uploads may be read, or keep their connection open, at a time. Further ones are answered and closed
 * at once.
 */
export const UNREAD_BODIES_MAX = 64;

/**
 * Answers refused uploads so that their clients can read the answer (RFC 9112 §9.6). Nothing of a body is kept.
 *
 * Measured with uploads of 10 and 60 MB: curl, Go's net/http, Node's fetch and Python's requests and http.client get
 * every answer. Reading 256 KiB, or 2 MiB, and then closing was not enough: up to half of the answers were lost.
 */
export class UnreadBodies {
  readonly #clock: Pick<Clock, "setTimer">;
  #open = 0;

  constructor(clock: Pick<Clock, "setTimer">) {
    this.#clock = clock;
  }

  /** Whether a request has a body that nobody has begun to read, and there is a free place to read it. */
  wants(request: Request): boolean {
    return this.#open < UNREAD_BODIES_MAX && request.body !== null && !request.bodyUsed;
  }

  /**
   * Reads and drops the request's body. Returns the refusal as it is if the body ends soon. Otherwise the refusal has a
   * body that ends a moment later, and the connection must close after it. Never rejects.
   */
  async answer(request: Request, refusal: Response): Promise<Response> {
    const body: ReadableStream<Uint8Array> | null = request.body;
    if (body === null) return refusal;
    this.#open++;
    const isThrough = await this.#drop(body);
    this.#open--;
    return isThrough ? refusal : this.linger(refusal);
  }

  /**
   * Returns the refusal of an unfinished upload, with a body that ends a moment later. The connection must close after
   * it. Returns the refusal as it is if it has no body or no place is free. Never rejects.
   */
  async linger(refusal: Response): Promise<Response> {
    if (this.#open >= UNREAD_BODIES_MAX) return refusal;
    this.#open++;
    const text = await refusal.text();
    const { status, headers } = refusal;
    if (text !== "") return new Response(this.#openBody(text), { status, headers });
    this.#open--;
    return new Response(null, { status, headers });
  }

  /**
   * Turns an answer that ends before its upload into a stream. The stream ends when the upload ends, or `LINGER_MS`
   * after the answer's last byte. The connection must close after it.
   */
  lingerBehind(answer: Response, isUploadOver: () => boolean): Response {
    if (answer.body === null) return answer;
    const body: ReadableStream<Uint8Array> = answer.body;
    const reader = body.getReader();
    let over: () => void = () => {};
    const stream = new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          const { done, value } = await reader.read();
          if (!done) return controller.enqueue(value);
          if (!isUploadOver() && this.#open < UNREAD_BODIES_MAX) {
            this.#open++;
            await new Promise<void>((resolve) => {
              const timer = this.#clock.setTimer(LINGER_MS, resolve);
              over = () => (timer.cancel(), resolve());
            });
            this.#open--;
          }
          controller.close();
        },
        cancel: async (reason) => {
          over();
          await reader.cancel(reason);
        },
      },
      { highWaterMark: 0 },
    );
    return new Response(stream, { status: answer.status, headers: answer.headers });
  }

  /** Whether the body has ended or its client has left. False: a limit was reached. Never rejects. */
  async #drop(body: ReadableStream<Uint8Array>): Promise<boolean> {
    const late = Promise.withResolvers<undefined>();
    const timer = this.#clock.setTimer(UNREAD_BODY_MAX_MS, () => late.resolve(undefined));
    let cancel: (() => Promise<void>) | undefined;
    try {
      const reader = body.getReader();
      cancel = () => reader.cancel();
      for (let bytes = 0; bytes <= UNREAD_BODY_MAX_BYTES;) {
        const read = await Promise.race([reader.read(), late.promise]);
        if (read === undefined) return false;
        if (read.done) return true;
        bytes += read.value.byteLength;
      }
      return false;
    } catch {
      // Its framing is invalid, or its client has left. Nobody waits for it.
      return true;
    } finally {
      timer.cancel();
      // From now on Bun itself drops the rest, which takes no memory. Reading on would take megabytes for each body.
      void cancel?.().catch(() => {});
    }
  }

  /** Sends its text at once, and ends after `LINGER_MS` or when the client leaves. */
  #openBody(text: string): ReadableStream<Uint8Array> {
    const over = Promise.withResolvers<"late" | "left">();
    const timer = this.#clock.setTimer(LINGER_MS, () => over.resolve("late"));
    void over.promise.then(() => this.#open--);
    return new ReadableStream<Uint8Array>({
      async start(controller) {
        controller.enqueue(Buffer.from(text));
        if ((await over.promise) === "late") controller.close();
      },
      cancel() {
        timer.cancel();
        over.resolve("left");
      },
    });
  }
}
