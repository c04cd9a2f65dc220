import { peek } from "bun";

import { IngressError } from "../errors.ts";
import type { ArrivalGauge } from "./arrival-gauge.ts";
import type { BufferBudget } from "./buffer-budget.ts";
import type { Exchange } from "./exchange.ts";
import type { HeaderSnapshot } from "./headers.ts";

/**
 * A request's body of known length up to this many bytes is read whole before it is passed on: 1.75 times the throughput.
 */
export const SMALL_REQUEST_MAX_BYTES = 65_536;

/**
 * A request's body from so many bytes on may pass unseen by us, at half the cost. That costs one more connection to the
 * sandbox beforehand, for which a smaller body does not pay.
 */
const UNSEEN_REQUEST_MIN_BYTES = 1024 * 1024;

/**
 * An answer of known length up to this many bytes is read whole before it is passed on: the only way in which it keeps its
 * Content-Length, and a third cheaper. Most of what a page loads is smaller.
 */
export const SMALL_ANSWER_MAX_BYTES = 1024 * 1024;

/**
 * All small bodies in memory together, in bytes. Beyond it bodies are streamed, which is slower and loses an answer's
 * Content-Length but is bounded by backpressure.
 */
export const SMALL_BODIES_TOTAL_MAX_BYTES = 64 * 1024 * 1024;

/** What both directions need. */
export interface BodyContext {
  readonly budget: BufferBudget;
  readonly gauge: ArrivalGauge;
  readonly monotonic: () => number;
  /** `--max-body-size`, bytes; 0: none. Requests only. */
  readonly maxBodyBytes: number;
  /** Whether a time limit depends on when a body last moved. */
  readonly timesBodies: boolean;
}

/**
 * The request's body as `fetch` wants it: whole where small; the client's own stream where large, of known length and
 * nothing needs to see it pass; else a stream that counts.
 * Throws `client_closed` when the client leaves while a small one is read.
 */
export async function readRequestBody(
  exchange: Exchange,
  context: BodyContext,
): Promise<Uint8Array | ReadableStream<Uint8Array> | undefined> {
  const { request, bodyLength: length } = exchange.subject;
  if (length === 0 || request.body === null) return undefined;
  if (length !== undefined && length <= SMALL_REQUEST_MAX_BYTES && context.budget.tryTake(length)) {
    try {
      const bytes = await request.bytes();
      exchange.bytesIn = bytes.byteLength;
      return bytes;
    } catch (thrown) {
      throw exchange.cutBy ?? new IngressError("client_closed", undefined, { cause: thrown });
    } finally {
      context.budget.release(length);
    }
  }
  const isSeen = exchange.subject.use !== undefined || context.timesBodies;
  if (!isSeen && length !== undefined && length >= UNSEEN_REQUEST_MIN_BYTES) {
    exchange.bytesIn = undefined;
    return request.body;
  }
  return meterUpload(request.body, exchange, context);
}

/**
 * Checks how the body is framed, without reading it. Returns its length, undefined for chunked, 0 for none.
 *
 * Throws `body_not_allowed` for a body on GET or HEAD, which Bun would swallow (RFC 9110 §9.3.1 gives it no meaning);
 * `body_too_large`; `request_invalid` for a Content-Length that is no number (two equal ones reach us as `3, 3`).
 */
export function checkRequestFraming(method: string, seen: HeaderSnapshot, maxBodyBytes: number): number | undefined {
  const text = seen["content-length"];
  if (text === undefined && seen["transfer-encoding"] === undefined) return 0;
  const length = text === undefined ? undefined : parseContentLength(text);
  if (length === 0) return 0;
  if (method === "GET" || method === "HEAD") throw new IngressError("body_not_allowed");
  if (length !== undefined && maxBodyBytes > 0 && length > maxBodyBytes) throw new IngressError("body_too_large");
  return length;
}

/** Parses the digits of RFC 9110 §8.6; throws `request_invalid` for anything else. */
export function parseContentLength(text: string): number {
  const length = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(length)) throw new IngressError("request_invalid", "invalid Content-Length");
  return length;
}

/** The upload as a stream that reads only when `fetch` does, counts, and stops at the size limit. */
function meterUpload(
  body: ReadableStream<Uint8Array>,
  exchange: Exchange,
  context: BodyContext,
): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await reader.read();
        if (done) return controller.close();
        exchange.countIn(value.byteLength, context.monotonic());
        if (context.maxBodyBytes > 0 && (exchange.bytesIn ?? 0) > context.maxBodyBytes) {
          const error = new IngressError("body_too_large");
          exchange.cut(error);
          throw error;
        }
        controller.enqueue(value);
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

/**
 * The answer for the client, whose headers have been rewritten for it: whole where small and of known length, else a
 * stream that counts and reads only when the client does. Ends the exchange with the last byte.
 */
export function relayAnswer(answer: Response, exchange: Exchange, context: BodyContext): Response | Promise<Response> {
  const { status, headers } = answer;
  // RFC 9110 §6.4.1. To ask the answer for its body would make a stream of it, small or not.
  if (exchange.subject.request.method === "HEAD" || status === 204 || status === 304) {
    return finishWithoutBody(answer, exchange);
  }
  const length = knownLength(headers);
  // Bun adds a Content-Type to a body of bytes that has none; a stream is left as it is.
  if (length !== undefined && headers.has("content-type") && context.budget.tryTake(length)) {
    return relaySmallAnswer(answer, exchange, { context, length });
  }
  const { body } = answer;
  if (body === null) return finishWithoutBody(answer, exchange);
  exchange.begin(status);
  return new Response(meterDownload(body, exchange, context), { status, headers });
}

function relaySmallAnswer(
  answer: Response,
  exchange: Exchange,
  options: { readonly context: BodyContext; readonly length: number },
): Response | Promise<Response> {
  const { context, length } = options;
  const { gauge } = context;
  const weight = gauge.weigh(answer, length);
  // Mostly the body came with the head.
  if (gauge.isWhole(weight)) {
    context.budget.release(length);
    finishWhole(answer, exchange, length);
    return answer;
  }
  // A blob, not bytes: they stay where Bun has them, which saves a tenth of the request's processor time.
  const reading = answer.blob();
  const read = peek(reading);
  if (read instanceof Blob && read.size === length) gauge.learn(weight);
  return reading
    .finally(() => context.budget.release(length))
    .then((blob) => {
      finishWhole(answer, exchange, blob.size);
      return new Response(blob, answer);
    });
}

function finishWhole(answer: Response, exchange: Exchange, bytes: number): void {
  exchange.begin(answer.status);
  exchange.bytesOut = bytes;
  exchange.end();
}

function finishWithoutBody(answer: Response, exchange: Exchange): Response {
  const { status, headers } = answer;
  // Without either header Bun would tell the client of a HEAD request that the body of a GET is empty.
  const isHead = exchange.subject.request.method === "HEAD" && status !== 204 && status !== 304;
  if (isHead && !headers.has("content-length")) {
    headers.set("transfer-encoding", "chunked");
  }
  exchange.begin(status);
  exchange.end();
  return new Response(null, { status, headers });
}

/** The length of a small answer; undefined where it is not known, not small, or not a number. */
function knownLength(headers: Headers): number | undefined {
  const text = headers.get("content-length");
  if (text === null || !/^\d{1,7}$/.test(text)) return undefined;
  const length = Number(text);
  return length <= SMALL_ANSWER_MAX_BYTES ? length : undefined;
}

function meterDownload(
  body: ReadableStream<Uint8Array>,
  exchange: Exchange,
  context: BodyContext,
): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (done) {
            exchange.end();
            return controller.close();
          }
          exchange.countOut(value.byteLength, context.monotonic());
          controller.enqueue(value);
        } catch (thrown) {
          const error = exchange.cutBy ?? new IngressError("upstream_reset", undefined, { cause: thrown });
          exchange.end(error);
          // An error, not an end: the client must see that the answer is not whole (RFC 9112 §8).
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
}

/** Cancelling a stream that has been torn reports the tear once more; it is known already. */
function ignoreTornStream(): void {}
