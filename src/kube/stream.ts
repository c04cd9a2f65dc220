import type { Clock } from "../clock.ts";
import { createDeadline, orAbort, type Deadline } from "./deadline.ts";
import type { KubeClient } from "./client.ts";
import { KubeError, readKubeError, toKubeError } from "./errors.ts";

export interface KubeStreamOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** From sending the request, after the credentials are ready, to the head of the answer; in milliseconds. */
  readonly headMaxMs: number;
  /** Longest pause without a byte of the body, in milliseconds. */
  readonly idleMaxMs: number;
  /** Called once when the answer's status is 2xx. */
  readonly onOpen?: () => void;
}

/**
 * Sends a GET and yields the body of its answer, chunk by chunk. Leaving the loop closes the connection. Throws
 * KubeError for a status that is not 2xx and for a connection that fails, breaks or is not answered; `silent` for a
 * body that stops.
 */
export async function* readKubeStream(
  path: string,
  options: KubeStreamOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { client, clock, headMaxMs, idleMaxMs } = options;
  const own = new AbortController();
  const signal = AbortSignal.any([options.signal, own.signal]);
  const silent = () => own.abort(new KubeError("silent", `no byte for ${idleMaxMs / 1000} s`));
  const unanswered = () => own.abort(new KubeError("unreachable", `no answer for ${headMaxMs / 1000} s`));
  let deadline: Deadline | undefined;
  const onSend = () => {
    deadline = createDeadline(clock, headMaxMs, { onExpire: unanswered });
  };
  try {
    const response = await orAbort(client.get(path, { signal, onSend }), signal);
    deadline?.cancel();
    deadline = createDeadline(clock, idleMaxMs, { onExpire: silent });
    if (!response.ok) throw await orAbort(readKubeError(response), signal);
    options.onOpen?.();
    const body: ReadableStream<Uint8Array> | null = response.body;
    if (body === null) return;
    const reader = body.getReader();
    for (;;) {
      const { done, value } = await orAbort(reader.read(), signal);
      if (done) return;
      deadline.touch();
      yield value;
    }
  } catch (error) {
    // Report the reason for stopping, not the aborted read that followed from it.
    throw toKubeError(own.signal.aborted ? own.signal.reason : error);
  } finally {
    deadline?.cancel();
    own.abort();
  }
}
