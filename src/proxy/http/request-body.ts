import { IngressError } from "../../errors.ts";
import { limitFor } from "../../sandbox/policy.ts";
import { BodyFlow } from "../exchange/body-flow.ts";
import type { Exchange } from "../exchange/exchange.ts";
import { UploadReader } from "./upload-reader.ts";

/**
 * A request body of known length up to this many bytes is read completely before it is passed on. That costs half as
 * much as a stream, but Bun does not tell how much has arrived. So `--client-idle-timeout` limits such a body from its
 * first byte to its last. 16 KiB in 60 s is slower than any real link.
 */
export const SMALL_REQUEST_MAX_BYTES = 16_384;

/**
 * A longer body of known length up to this many bytes is read completely too, but chunk by chunk, so that each chunk
 * shows that the client is there. A stream would need a new connection to the sandbox and has three times the cost.
 * A longer body would wait too long, since its sandbox gets nothing before the last byte has come.
 */
export const COLLECTED_REQUEST_MAX_BYTES = 65_536;

/** What reading a request body needs from the program. */
export interface RequestBodyContext {
  readonly monotonic: () => number;
  /** `--max-body-size`, bytes; 0: no limit. */
  readonly maxBodyBytes: number;
}

/** A body as `fetch` takes it; undefined: the request has no body. */
export type RequestBody = Uint8Array | ReadableStream<Uint8Array> | undefined;

/**
 * Returns the request's body: whole if it is short, else as a stream that counts and reads only when `fetch` does.
 * Throws the reason if the exchange is cut, or `client_closed` if the client leaves while a short body is read.
 */
export async function readRequestBody(exchange: Exchange, context: RequestBodyContext): Promise<RequestBody> {
  const { request, bodyLength: length } = exchange.subject;
  const { patience } = exchange;
  if (patience?.body !== undefined) return patience.body;
  if (length === 0) return undefined;
  // Looking at `body` makes Bun build a stream, which costs a tenth of what receiving a small POST does.
  if (length !== undefined && length <= SMALL_REQUEST_MAX_BYTES && exchange.tryHold(length)) {
    return noteWhole(exchange, await readWhole(exchange));
  }
  const { body } = request;
  if (body === null) return undefined;
  if (length !== undefined && length <= COLLECTED_REQUEST_MAX_BYTES && exchange.tryHold(length)) {
    return noteWhole(exchange, await collect(body, length, { exchange, context }));
  }
  return meterUpload(body, exchange, context);
}

/** The body has been read. It stays in the memory account only if it may have to be sent again. */
function noteWhole(exchange: Exchange, bytes: Uint8Array): Uint8Array {
  exchange.bytesIn = bytes.byteLength;
  if (exchange.patience === undefined) exchange.tryHold(0);
  else exchange.patience.body = bytes;
  return bytes;
}

async function readWhole(exchange: Exchange): Promise<Uint8Array> {
  try {
    return await exchange.orCut(exchange.subject.request.bytes());
  } catch (thrown) {
    throw exchange.cutBy ?? new IngressError("client_closed", undefined, { cause: thrown });
  }
}

/** Reads a body of `length` bytes and counts each chunk. The end of the exchange also ends the reading. */
async function collect(
  body: ReadableStream<Uint8Array>,
  length: number,
  { exchange, context }: { readonly exchange: Exchange; readonly context: RequestBodyContext },
): Promise<Uint8Array> {
  exchange.checkOpen();
  const { signal } = exchange;
  const reader = body.getReader();
  const abort = (): void => void reader.cancel().catch(ignoreEnded);
  signal.addEventListener("abort", abort, { once: true });
  const flow = new BodyFlow(context.monotonic());
  flow.pull(flow.since);
  exchange.upload = flow;
  try {
    let bytes: Uint8Array | undefined;
    let filled = 0;
    for (;;) {
      const { done, value } = await reader.read();
      exchange.checkOpen();
      if (done) break;
      exchange.countIn(value.byteLength, context.monotonic());
      // Often the first chunk is the whole body, and needs no copy.
      if (value.byteLength === length) bytes = value;
      else (bytes ??= new Uint8Array(length)).set(value, filled);
      filled += value.byteLength;
    }
    if (bytes === undefined || filled !== length) throw new IngressError("client_closed");
    flow.finish();
    return bytes;
  } catch (thrown) {
    throw exchange.cutBy ?? new IngressError("client_closed", undefined, { cause: thrown });
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** A stream whose client has left rejects once more when it is cancelled. */
function ignoreEnded(): void {}

/** The upload as a stream that counts, reads only when `fetch` does, and stops at the size limit. */
function meterUpload(
  body: ReadableStream<Uint8Array>,
  exchange: Exchange,
  context: RequestBodyContext,
): ReadableStream<Uint8Array> {
  const reader = new UploadReader(body);
  const { monotonic } = context;
  const maxBodyBytes = limitFor(context.maxBodyBytes, exchange.subject.policy?.maxBodyBytes);
  const flow = new BodyFlow(monotonic());
  exchange.upload = flow;
  let isBegun = false;
  if (exchange.patience !== undefined) {
    exchange.patience.rewind = () => {
      if (exchange.patience !== undefined) exchange.patience.rewind = undefined;
      if (isBegun) return false;
      reader.release();
      exchange.upload = undefined;
      return true;
    };
  }
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        isBegun = true;
        flow.pull(monotonic());
        exchange.noteTurn();
        const piece = await reader.read();
        if (piece === undefined) {
          // `cancel` ends the read, too, but the client may go on sending.
          if (flow.turn === "through") return;
          flow.finish();
          exchange.noteTurn();
          // The end may come long after the last byte. The sandbox has its time from here on.
          exchange.sentAt = monotonic();
          return controller.close();
        }
        const now = monotonic();
        flow.push(now);
        exchange.noteTurn();
        exchange.countIn(piece.byteLength, now);
        if (maxBodyBytes > 0 && exchange.bytesIn > maxBodyBytes) {
          const error = new IngressError("body_too_large");
          exchange.cut(error);
          throw error;
        }
        controller.enqueue(piece);
      },
      cancel(reason) {
        // Another attempt may still send the body, so nothing of it may be lost.
        if (!isBegun && exchange.patience !== undefined) return;
        flow.abandon();
        exchange.noteTurn();
        return reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
}
