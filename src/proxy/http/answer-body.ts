import { IngressError, toIngressError, toInternalError } from "../../errors.ts";
import { BodyFlow } from "../exchange/body-flow.ts";
import type { Departures } from "../exchange/departures.ts";
import type { Exchange } from "../exchange/exchange.ts";
import { isWhole } from "./arrived.ts";
import { toUpstreamError } from "../upstream/errors.ts";
import { knownLength, settleLength } from "./answer-length.ts";
import { allowsEarlyNewline, ByteOrderMarkDropper, EARLY_NEWLINE_AFTER_MS, lineFeed } from "./early-newline.ts";

/**
 * How long an answer may take to arrive completely, in milliseconds, at its rate so far. No answer is held back for
 * longer.
 */
export const WHOLE_ANSWER_MAX_MS = 1_000;

/** How often the rate of an answer is checked, in milliseconds. The first check is this long after its first byte. */
const RATE_MIN_MS = 50;

/** What passing on an answer needs from the program. */
export interface AnswerBodyContext {
  readonly monotonic: () => number;
  readonly departures: Departures;
  /** Checks how much memory is used, unless that was done a moment ago. */
  readonly lookAtMemory: () => void;
  /** Calls back once, after `delayMs`. */
  readonly after: (delayMs: number, fire: () => void) => { cancel(): void };
  /**
   * `--stream-early-newline`: an event stream that is silent at first begins with a line feed, so that its client gets
   * the head.
   */
  readonly streamEarlyNewline: boolean;
}

/**
 * Returns the answer for the client. Its headers have been rewritten already. The answer is passed on whole if its
 * length is known and it arrives quickly. Otherwise it is a stream that counts, and reads only when the client does.
 * The exchange ends when the last byte has left.
 */
export function relayAnswer(
  answer: Response,
  exchange: Exchange,
  context: AnswerBodyContext,
): Response | Promise<Response> {
  const { status, headers } = answer;
  const settled = settleLength(headers);
  // RFC 9110 §6.4.1.
  if (exchange.subject.request.method === "HEAD" || status === 204 || status === 304) {
    return finishWithoutBody(answer, exchange, context);
  }
  const length = knownLength(settled);
  // Bun adds a Content-Type to a body of bytes that has none, but leaves a stream as it is.
  const mayBeWhole = length !== undefined && length > 0 && headers.has("content-type") && exchange.tryHold(length);
  if (mayBeWhole && isWhole(answer, length)) return passAsItIs(answer, { exchange, context, length });
  const { body } = answer;
  if (body === null) return finishWithoutBody(answer, exchange, context);
  const reader = readerOf(body);
  if (mayBeWhole) return collect(answer, reader, { exchange, context, length });
  return relayStream(answer, reader, { exchange, context, head: [] });
}

interface ManyRead {
  readonly done: boolean;
  readonly value: readonly Uint8Array[];
}

/** Bun's reader, which also returns everything that has arrived, without waiting. */
interface BodyReader {
  read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>;
  readMany(): ManyRead | Promise<ManyRead>;
  cancel(reason: unknown): Promise<void>;
}

/** The standard types do not contain `readMany`. */
function readerOf(body: ReadableStream<Uint8Array>): BodyReader {
  const reader: object = body.getReader();
  if (isBodyReader(reader)) return reader;
  throw toInternalError("this Bun has no readMany");
}

function isBodyReader(reader: object): reader is BodyReader {
  return "readMany" in reader;
}

/** A failed stream throws at once, so both ways to fail become the same error. */
function readMany(reader: BodyReader): ManyRead | Promise<ManyRead> {
  try {
    return reader.readMany();
  } catch (thrown) {
    throw toUpstreamError(thrown);
  }
}

interface WholeOptions {
  readonly exchange: Exchange;
  readonly context: AnswerBodyContext;
  readonly length: number;
}

/** The `size` of Bun's result sometimes counts chunks and sometimes bytes, so it is not used. */
function sizeOf(read: ManyRead): number {
  let bytes = 0;
  for (const chunk of read.value) bytes += chunk.byteLength;
  return bytes;
}

/**
 * Collects the body until it is whole. If it is too slow, what has arrived goes on as a stream, and the rest follows.
 */
async function collect(answer: Response, reader: BodyReader, options: WholeOptions): Promise<Response> {
  const { exchange, context, length } = options;
  const pace = new Pace(length, context.monotonic());
  const chunks: Uint8Array[] = [];
  let read = readMany(reader);
  for (;;) {
    if (read instanceof Promise) {
      const pending: Promise<ManyRead> = read;
      const looked = await raceTimer(pending, RATE_MIN_MS, context);
      if (looked === undefined) {
        if (!pace.isLate(context.monotonic())) continue;
        exchange.tryHold(0);
        return relayStream(answer, reader, { exchange, context, head: chunks, pending });
      }
      read = looked;
    }
    chunks.push(...read.value);
    pace.add(sizeOf(read), context.monotonic());
    if (pace.size >= length) return passWhole(answer, chunks, options);
    // fetch rejects an answer that is shorter than announced, so this is only a guard.
    if (read.done) throw new IngressError("upstream_reset");
    read = readMany(reader);
    // Checked even if each read is quick, since a sandbox may send byte by byte.
    if (pace.isLate(context.monotonic())) {
      exchange.tryHold(0);
      return relayStream(answer, reader, { exchange, context, head: chunks, pending: Promise.resolve(read) });
    }
  }
}

/** How fast a body of known length arrives. */
class Pace {
  size = 0;
  readonly #length: number;
  readonly #startedAt: number;
  #firstAt: number | undefined;

  constructor(length: number, nowMs: number) {
    this.#length = length;
    this.#startedAt = nowMs;
  }

  add(bytes: number, nowMs: number): void {
    this.size += bytes;
    if (bytes > 0) this.#firstAt ??= nowMs;
  }

  /**
   * Whether the body, at its rate so far, will not be whole within `WHOLE_ANSWER_MAX_MS`. Waiting for the first byte
   * costs nothing, since Bun holds the head until then anyway.
   */
  isLate(nowMs: number): boolean {
    if (this.#firstAt === undefined) return nowMs - this.#startedAt >= WHOLE_ANSWER_MAX_MS;
    const spentMs = nowMs - this.#firstAt;
    if (spentMs < RATE_MIN_MS) return false;
    return (this.size / spentMs) * WHOLE_ANSWER_MAX_MS < this.#length;
  }
}

/**
 * Resolves to what `pending` resolves to, or to undefined after `delayMs`. If `pending` fails later, that is not an
 * unhandled rejection.
 */
async function raceTimer(
  pending: Promise<ManyRead>,
  delayMs: number,
  context: AnswerBodyContext,
): Promise<ManyRead | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = context.after(delayMs, () => late.resolve(undefined));
  try {
    return await Promise.race([pending, late.promise]);
  } catch (thrown) {
    throw toUpstreamError(thrown);
  } finally {
    timer.cancel();
  }
}

/** Bun sends this answer with its length, as it came. */
function passAsItIs(answer: Response, options: WholeOptions): Response {
  finishWhole(answer, options);
  return answer;
}

function finishWhole(answer: Response, { exchange, context, length }: WholeOptions): void {
  exchange.stream(answer.status);
  exchange.bytesOut = length;
  exchange.tryHold(0);
  context.departures.add(exchange);
}

function passWhole(answer: Response, chunks: readonly Uint8Array[], options: WholeOptions): Response {
  finishWhole(answer, options);
  const [only] = chunks;
  const body = chunks.length === 1 && only !== undefined ? only : new Blob([...chunks]);
  return new Response(body, answer);
}

function finishWithoutBody(answer: Response, exchange: Exchange, context: AnswerBodyContext): Response {
  const { status, headers } = answer;
  // Bun would tell the client of a HEAD request that the body of a GET is empty. It says nothing of the length of a
  // stream, which it does not read for HEAD.
  const isHead = exchange.subject.request.method === "HEAD" && status !== 204 && status !== 304;
  const body = isHead && !headers.has("content-length") ? new ReadableStream<Uint8Array>() : null;
  exchange.stream(status);
  context.departures.add(exchange);
  return new Response(body, { status, headers });
}

interface StreamOptions {
  readonly exchange: Exchange;
  readonly context: AnswerBodyContext;
  /** The part of the body that has arrived already. */
  readonly head: Uint8Array[];
  /** A read that is under way. */
  readonly pending?: Promise<ManyRead>;
}

function relayStream(answer: Response, reader: BodyReader, options: StreamOptions): Response {
  const { exchange, context, head } = options;
  const { monotonic, departures } = context;
  const { status, headers } = answer;
  // If the answer is torn down before its client reads, nobody waits for this read any more.
  options.pending?.catch(ignoreTornStream);
  context.lookAtMemory();
  exchange.checkRoom();
  const flow = new BodyFlow(monotonic());
  exchange.download = flow;
  exchange.stream(status);
  let pending = options.pending;
  let mayComeEarly = context.streamEarlyNewline && head.length === 0 && allowsEarlyNewline(status, headers);
  /** Set once a line feed was sent. */
  let mark: ByteOrderMarkDropper | undefined;
  /** Resolves to a line feed if the sandbox stays silent. Otherwise to undefined, and what it sent is in `pending`. */
  const earlyNewline = async (): Promise<Uint8Array | undefined> => {
    mayComeEarly = false;
    const read = readMany(reader);
    pending = Promise.resolve(read);
    if (!(read instanceof Promise)) return undefined;
    if ((await raceTimer(pending, EARLY_NEWLINE_AFTER_MS, context)) !== undefined) return undefined;
    // If the client leaves, nobody waits for this any more.
    pending.catch(ignoreTornStream);
    mark = new ByteOrderMarkDropper();
    return lineFeed();
  };
  const readNext = async (): Promise<Uint8Array | undefined> => {
    for (;;) {
      const chunk = head.shift();
      if (chunk !== undefined) return chunk;
      let read: ManyRead;
      try {
        if (pending === undefined) return (await reader.read()).value;
        read = await pending;
      } catch (thrown) {
        throw new IngressError("upstream_reset", undefined, { cause: thrown });
      }
      pending = undefined;
      if (read.value.length === 0 && read.done) return undefined;
      head.push(...read.value);
    }
  };
  const next = async (): Promise<Uint8Array | undefined> => {
    for (;;) {
      const chunk = await readNext();
      if (mark === undefined) return chunk;
      const passed = chunk === undefined ? mark.end() : mark.take(chunk);
      if (passed.byteLength > 0) return passed;
      if (chunk === undefined) return undefined;
    }
  };
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          flow.pull(monotonic());
          exchange.noteTurn();
          const early = mayComeEarly ? await earlyNewline() : undefined;
          if (early !== undefined) {
            // This is neither a sign of life of the sandbox nor use of it.
            flow.push(monotonic());
            exchange.noteTurn();
            exchange.bytesOut += early.byteLength;
            return controller.enqueue(early);
          }
          const value = await next();
          const now = monotonic();
          if (value === undefined) {
            flow.finish();
            exchange.noteTurn();
            departures.add(exchange);
            return controller.close();
          }
          flow.push(now);
          exchange.noteTurn();
          exchange.countOut(value.byteLength, now);
          controller.enqueue(value);
        } catch (thrown) {
          const error = exchange.cutBy ?? toIngressError(thrown);
          exchange.cut(error);
          exchange.end(error);
          // The stream must fail, not end, so that the client sees that the answer is not whole (RFC 9112 §8).
          throw error;
        }
      },
      async cancel(reason) {
        exchange.cut(new IngressError("client_closed"));
        await reader.cancel(reason).catch(ignoreTornStream);
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(stream, { status, headers });
}

/** Cancelling a stream that was torn down reports the known error once more. */
function ignoreTornStream(): void {}
