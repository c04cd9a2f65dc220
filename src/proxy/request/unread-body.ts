import type { Clock } from "../../clock.ts";

/** What is read of a refused upload before its answer at most, in bytes: as much as Go's server reads. */
export const UNREAD_BODY_MAX_BYTES = 256 * 1024;

/** How long a refused upload is read before its answer at most, in milliseconds: so much later the answer comes. */
export const UNREAD_BODY_MAX_MS = 500;

/**
 * How long a connection stays open behind the answer to an upload that goes on, in milliseconds, as with Go's server. Who is
 * still sending can read the answer meanwhile: where the connection closes at once, it is reset, and the answer is lost.
 */
export const LINGER_MS = 500;

/** Refused uploads at a time that are read, or whose connection stays open; those beyond are answered and closed at once. */
export const UNREAD_BODIES_MAX = 64;

/**
 * Answers refused uploads so that their clients can read the answer (RFC 9112 §9.6). Nothing of a body is kept.
 *
 * Measured with uploads of 10 and 60 MB: curl, Go's net/http, Node's fetch and Python's requests and http.client get every
 * answer. To read 256 KiB, or 2 MiB, and then close was not enough: up to half of the answers were lost.
 */
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

  /**
   * Reads and drops what comes of the request's body. Gives the refusal as it is where the body ends soon, else with a body
   * that ends a moment later; the connection must close behind it. Never rejects.
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
   * The refusal of an upload that goes on, with a body that ends a moment later; the connection must close behind it. As it is
   * where it has no body, or there is no room. Never rejects.
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
   * An answer that ended before its upload did, as a stream that ends when the upload has, or `LINGER_MS` behind its own last
   * byte; the connection must close behind it.
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

  /** Whether the body is through: it has ended, or its client has left. False: a limit was reached. Never rejects. */
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
      // Its framing is invalid, or its client has left: there is nobody to read for.
      return true;
    } finally {
      timer.cancel();
      // From now on Bun itself drops what comes, which takes no memory. To read on takes megabytes for each.
      void cancel?.().catch(() => {});
    }
  }

  /** Gives its text at once, and ends after `LINGER_MS` or when the client leaves. */
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
