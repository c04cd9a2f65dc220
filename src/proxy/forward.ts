import { lookup } from "node:dns/promises";

import { type Clock, sleep } from "../clock.ts";
import { IngressError } from "../errors.ts";
import { readRequestBody, relayAnswer, type BodyContext } from "./body.ts";
import { canReach } from "./can-reach.ts";
import type { Exchange } from "./exchange.ts";
import { rewriteResponseHeaders } from "./headers.ts";
import { buildRefusal } from "./refusal.ts";
import type { Repeatability } from "./upstream.ts";
import { toUpstreamError } from "./upstream-errors.ts";

/** Pause between two attempts to resolve a name that is not known yet, in milliseconds. */
const RESOLVE_RETRY_MS = 250;

/** What forwarding needs from the program. */
export interface ForwardContext {
  readonly body: BodyContext;
  readonly clock: Clock;
  /** `--connect-timeout`: also how long a name that does not resolve is tried again. */
  readonly connectTimeoutMs: number;
  readonly isDraining: () => boolean;
}

/**
 * Forwards one plain request and gives the answer for the client. Headers have been rewritten already.
 *
 * Nothing is retried here once a byte may have left: only a name that does not resolve yet is tried again. Bun itself
 * repeats an idempotent request whose reused connection turns out to be closed (RFC 9110 §9.2.2).
 *
 * Never rejects: a failed upstream, an invalid request body and what cut the exchange are answers, too.
 */
export async function forwardRequest(exchange: Exchange, context: ForwardContext): Promise<Response> {
  try {
    // Most requests have no body: not even a promise for them.
    const body = exchange.subject.bodyLength === 0 ? undefined : await readRequestBody(exchange, context.body);
    if (body instanceof ReadableStream) await resolveFirst(exchange, context);
    if (exchange.bytesIn === undefined) await reachFirst(exchange, context);
    exchange.checkOpen();
    exchange.sentAt = context.clock.monotonic();
    const init = buildFetchInit(exchange, body);
    let answer: Response;
    try {
      answer = await fetch(urlOf(exchange), init);
    } catch (thrown) {
      answer = await retryFetch(thrown, exchange, { init, context });
    }
    exchange.headAt = context.clock.monotonic();
    rewriteResponseHeaders(answer.headers, answerOptions(exchange, context));
    const relayed = relayAnswer(answer, exchange, context.body);
    return relayed instanceof Response ? relayed : await relayed;
  } catch (thrown) {
    // A client that left in the midst of its body fails the fetch, too; that is no fault of the sandbox.
    exchange.watchClient();
    const error = exchange.cutBy ?? toUpstreamError(thrown);
    // Whatever of an answer is there already is torn: nobody reads it any more.
    exchange.cut(error);
    exchange.end(error);
    return buildRefusal(exchange.subject.request, error, answerOptions(exchange, context));
  }
}

function answerOptions(exchange: Exchange, context: ForwardContext): { closeConnection: boolean; requestId: string } {
  const { isLast, requestId } = exchange.subject;
  return { closeConnection: isLast || context.isDraining(), requestId };
}

function urlOf(exchange: Exchange): string {
  const { hostPort, path, query } = exchange.subject;
  return `http://${hostPort}${path}${query}`;
}

function buildFetchInit(
  exchange: Exchange,
  body: Uint8Array | ReadableStream<Uint8Array> | undefined,
): BunFetchRequestInit {
  const { request, route } = exchange.subject;
  const repeatability = repeatabilityOf(request.method, body);
  const lease = exchange.upstream.lease(repeatability, exchange.sentAt);
  exchange.lease = lease;
  const init: BunFetchRequestInit = {
    method: request.method,
    headers: request.headers,
    session: lease.session,
    keepalive: exchange.upstream.mayReuse(route.port, repeatability),
    redirect: "manual",
    decompress: false,
    proxy: false,
    timeout: false,
    signal: exchange.signal,
  };
  if (body !== undefined) init.body = body;
  return init;
}

/** After a failure: while the sandbox's name does not resolve, fetches again for as long as connecting may take. */
async function retryFetch(
  thrown: unknown,
  exchange: Exchange,
  options: { readonly init: BunFetchRequestInit; readonly context: ForwardContext },
): Promise<Response> {
  const { init, context } = options;
  let error = toUpstreamError(thrown);
  while (mayResolveYet(exchange, error, context) && !(init.body instanceof ReadableStream)) {
    await sleep(context.clock, RESOLVE_RETRY_MS, exchange.signal);
    exchange.checkOpen();
    try {
      return await fetch(urlOf(exchange), init);
    } catch (again) {
      error = toUpstreamError(again);
    }
  }
  if (error.code === "upstream_reset" && init.keepalive === true) {
    exchange.upstream.noteClosedWhileIdle(exchange.subject.route.port);
  }
  throw error;
}

function mayResolveYet(exchange: Exchange, error: IngressError, context: ForwardContext): boolean {
  return (
    exchange.cutBy === undefined &&
    error.code === "upstream_unresolved" &&
    context.clock.monotonic() - exchange.sentAt < context.connectTimeoutMs
  );
}

/** A streamed body can be sent once only: so the name is resolved before it is touched. */
async function resolveFirst(exchange: Exchange, context: ForwardContext): Promise<void> {
  const { hostPort } = exchange.subject;
  const host = hostPort.slice(0, hostPort.lastIndexOf(":"));
  if (!/[a-z]/i.test(host) || host.startsWith("[")) return;
  const deadline = context.clock.monotonic() + context.connectTimeoutMs;
  for (;;) {
    try {
      await lookup(host);
      return;
    } catch (thrown) {
      exchange.checkOpen();
      if (context.clock.monotonic() >= deadline) {
        throw new IngressError("upstream_unresolved", undefined, { cause: thrown });
      }
      await sleep(context.clock, RESOLVE_RETRY_MS, exchange.signal);
      exchange.checkOpen();
    }
  }
}

/**
 * A body that passes unseen cannot show later that the sandbox is reached. So that is found out before it is touched;
 * asked in its midst, a sandbox that is busy with it might not take the connection.
 */
async function reachFirst(exchange: Exchange, context: ForwardContext): Promise<void> {
  exchange.probed = true;
  if (await canReach(exchange.subject.hostPort, context.connectTimeoutMs)) return;
  throw new IngressError("upstream_unreachable");
}

/** RFC 9110 §9.2.2: POST and PATCH are the methods in use whose effect may differ when they are sent twice. */
function repeatabilityOf(method: string, body: Uint8Array | ReadableStream | undefined): Repeatability {
  if (body instanceof ReadableStream) return "streamed";
  return IDEMPOTENT_METHODS.has(method) ? "repeatable" : "once";
}

const IDEMPOTENT_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "PUT", "DELETE", "OPTIONS"]);
