import { IngressError } from "../../errors.ts";
import { limitFor } from "../../sandbox/policy.ts";
import { BodyFlow } from "../exchange/body-flow.ts";
import type { Exchange } from "../exchange/exchange.ts";

/**
 * A request body of known length up to this many bytes is read completely before it is passed on. That costs half as
 * much as a stream, but Bun does not tell how much has arrived. So `--client-idle-timeout` limits such a body from its
 * first byte to its last. 16 KiB in 60 s is slower than any real link.
 */
export const SMALL_REQUEST_MAX_BYTES = 16_384;

/** What reading a request body needs from the program. */
export interface RequestBodyContext {
  readonly monotonic: () => number;
  /** `--max-body-size`, bytes; 0: no limit. */
  readonly maxBodyBytes: number;
}

/** A body as `fetch` takes it; undefined: the request has no body. */
export type RequestBody = Uint8Array | ReadableStream<Uint8Array> | undefined;

/**
 * Returns the request's body: whole if it is small, else as a stream that counts and reads only when `fetch` does.
 * Throws the reason if the exchange is cut, or `client_closed` if the client leaves while a small body is read.
 */
export async function readRequestBody(exchange: Exchange, context: RequestBodyContext): Promise<RequestBody> {
  const { request, bodyLength: length } = exchange.subject;
  const { patience } = exchange;
  if (patience?.body !== undefined) return patience.body;
  if (length === 0 || request.body === null) return undefined;
  if (length !== undefined && length <= SMALL_REQUEST_MAX_BYTES && exchange.tryHold(length)) {
    const bytes = await readWhole(exchange);
    exchange.bytesIn = bytes.byteLength;
    if (patience === undefined) exchange.tryHold(0);
    else patience.body = bytes;
    return bytes;
  }
  return meterUpload(request.body, exchange, context);
}

/** Bun's promise does not end when the exchange is cut, so it races with the signal. */
async function readWhole(exchange: Exchange): Promise<Uint8Array> {
  const { signal } = exchange;
  const cut = Promise.withResolvers<never>();
  const abort = (): void => cut.reject(exchange.cutBy ?? new IngressError("client_closed"));
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([exchange.subject.request.bytes(), cut.promise]);
  } catch (thrown) {
    throw exchange.cutBy ?? new IngressError("client_closed", undefined, { cause: thrown });
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** The upload as a stream that counts, reads only when `fetch` does, and stops at the size limit. */
function meterUpload(
  body: ReadableStream<Uint8Array>,
  exchange: Exchange,
  context: RequestBodyContext,
): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  const { monotonic } = context;
  const maxBodyBytes = limitFor(context.maxBodyBytes, exchange.subject.policy?.maxBodyBytes);
  const flow = new BodyFlow(monotonic());
  exchange.upload = flow;
  let isBegun = false;
  if (exchange.patience !== undefined) {
    exchange.patience.rewind = () => {
      if (exchange.patience !== undefined) exchange.patience.rewind = undefined;
      if (isBegun) return false;
      reader.releaseLock();
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
        const { done, value } = await reader.read();
        if (done) {
          flow.finish();
          exchange.noteTurn();
          return controller.close();
        }
        const now = monotonic();
        flow.push(now);
        exchange.noteTurn();
        exchange.countIn(value.byteLength, now);
        if (maxBodyBytes > 0 && exchange.bytesIn > maxBodyBytes) {
          const error = new IngressError("body_too_large");
          exchange.cut(error);
          throw error;
        }
        controller.enqueue(value);
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
