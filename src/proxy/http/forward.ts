import type { Clock } from "../../clock.ts";
import { type IngressError, toIngressError } from "../../errors.ts";
import { rewriteAnswerUrls } from "../browser/answer-urls.ts";
import { checkAnswerStatus } from "./answer-status.ts";
import { type AnswerBodyContext, relayAnswer } from "./answer-body.ts";
import type { EndpointLocator } from "../upstream/locator.ts";
import type { Exchange } from "../exchange/exchange.ts";
import { rewriteResponseHeaders } from "../request/headers.ts";
import { UNREAD_BODY_MAX_BYTES, type UnreadBodies } from "../request/unread-body.ts";
import { buildRefusal } from "../report/refusal.ts";
import { readRequestBody, type RequestBody, type RequestBodyContext } from "./request-body.ts";
import type { Lease, Repeatability } from "../upstream/upstream.ts";
import { toUpstreamError } from "../upstream/errors.ts";
import { mayTryAgain } from "../hold/try-again.ts";

/** What forwarding needs from the program. */
export interface ForwardContext {
  readonly requestBody: RequestBodyContext;
  readonly answerBody: AnswerBodyContext;
  readonly clock: Clock;
  readonly locator: EndpointLocator;
  readonly unreadBodies: UnreadBodies;
  /** Whether every answer must close its connection, whatever its client asked for. */
  readonly closesConnections: () => boolean;
}

/**
 * Forwards one plain request and returns the answer for the client. Its headers have been rewritten already.
 *
 * Nothing is sent twice here. Bun itself repeats an idempotent request if its reused connection turns out to be closed
 * (RFC 9110 §9.2.2).
 *
 * A failed upstream, an invalid request body and the reason of a cut become answers too. Rejects only if `mayTryAgain`
 * says that the exchange may wait and then start again.
 */
export async function forwardRequest(exchange: Exchange, context: ForwardContext): Promise<Response> {
  try {
    // Most requests have no body, and most sandboxes have an address. They do not need a promise.
    const located = context.locator.locate(exchange);
    const dialled = typeof located === "string" ? located : await located;
    const hasBody = exchange.subject.bodyLength !== 0;
    const body = hasBody ? await readRequestBody(exchange, context.requestBody) : undefined;
    // If nothing was awaited, no time has passed.
    exchange.connect(hasBody || typeof located !== "string" ? context.clock.monotonic() : exchange.sentAt);
    exchange.dialled = dialled;
    const prepared = buildFetchInit(exchange, body);
    const { path, query } = exchange.subject;
    let answer: Response;
    try {
      answer = await fetch(`http://${dialled}${path}${query}`, prepared.init);
    } catch (thrown) {
      throw noteFailure(exchange, prepared, toUpstreamError(thrown));
    }
    exchange.answered(context.clock.monotonic());
    dropKeptBody(exchange);
    exchange.upstream.noteConnected(exchange.subject.route.port);
    checkAnswerStatus(answer.status);
    const options = answerOptions(exchange, context);
    const goesOn = isUploadLong(exchange);
    const closeConnection = options.closeConnection || goesOn;
    const seen = rewriteResponseHeaders(answer.headers, { ...options, closeConnection });
    if (seen["connection"]?.toLowerCase() === "close") prepared.lease.held.noteClosing();
    rewriteAnswerUrls(answer.headers, seen, exchange.subject.browser);
    const relayed = relayAnswer(answer, exchange, context.answerBody);
    const forClient = relayed instanceof Response ? relayed : await relayed;
    return goesOn ? context.unreadBodies.lingerBehind(forClient, () => !isUploadLong(exchange)) : forClient;
  } catch (thrown) {
    // A client that left during its upload makes the fetch fail too. That is not a fault of the sandbox.
    exchange.watchClient();
    const error = exchange.cutBy ?? toIngressError(thrown);
    if (mayTryAgain(exchange, error, context.clock.monotonic())) throw error;
    // Tear down an answer that is not passed on.
    exchange.cut(error);
    exchange.end(error);
    const { request, route, browser } = exchange.subject;
    const options = { ...answerOptions(exchange, context), route, cors: browser.cors, countsAsUse: true };
    const goesOn = isUploadLong(exchange);
    const refusal = buildRefusal(request, error, { ...options, closeConnection: options.closeConnection || goesOn });
    if (context.unreadBodies.wants(request)) return context.unreadBodies.answer(request, refusal);
    return goesOn ? context.unreadBodies.linger(refusal) : refusal;
  }
}

/**
 * Whether much of an upload, or an unknown part, is still missing. Bun would read it as long as it comes, outside every
 * limit.
 */
function isUploadLong({ upload, subject, bytesIn }: Exchange): boolean {
  if (upload === undefined) return false;
  // Bun can end the stream of an upload early. So the end of the stream counts only if the length is unknown.
  if (subject.bodyLength === undefined) return !upload.isWhole;
  return subject.bodyLength - bytesIn > UNREAD_BODY_MAX_BYTES;
}

/** Drops the kept body: the sandbox has it, so it is not sent again. */
function dropKeptBody(exchange: Exchange): void {
  if (exchange.patience?.body === undefined) return;
  exchange.patience.body = undefined;
  exchange.tryHold(0);
}

function answerOptions(exchange: Exchange, context: ForwardContext): { closeConnection: boolean; requestId: string } {
  const { door, isLast, requestId } = exchange.subject;
  return { closeConnection: isLast || door.isRetired || context.closesConnections(), requestId };
}

interface PreparedFetch {
  readonly init: BunFetchRequestInit;
  readonly lease: Lease;
  /** Whether a reset of the connection shows that the server closes idle connections. */
  readonly isLossTelling: boolean;
}

function buildFetchInit(exchange: Exchange, body: RequestBody): PreparedFetch {
  const { request, route, browser } = exchange.subject;
  // The sandbox expects the name from its resource, not the address that the name resolves to.
  if (exchange.dialled !== browser.hostHeader) request.headers.set("host", browser.hostHeader);
  const repeatability = repeatabilityOf(request.method, body);
  const nowMs = exchange.sentAt;
  const lease = exchange.upstream.lease(exchange.dialled ?? "", route.port, { repeatability, nowMs });
  exchange.hold(lease.held);
  const init: BunFetchRequestInit = {
    method: request.method,
    headers: request.headers,
    session: lease.held.session,
    keepalive: lease.keepsConnection,
    redirect: "manual",
    decompress: false,
    proxy: false,
    timeout: false,
    signal: exchange.signal,
  };
  if (body !== undefined) init.body = body;
  return { init, lease, isLossTelling: repeatability === "once" && lease.mayBeUsed };
}

/** The request got no answer. Returns the error. */
function noteFailure(exchange: Exchange, prepared: PreparedFetch, error: IngressError): IngressError {
  const { lease, isLossTelling } = prepared;
  exchange.giveBack(lease.held, error);
  if (error.code === "upstream_reset" && isLossTelling) {
    exchange.upstream.noteClosedWhileIdle(exchange.subject.route.port);
  }
  return error;
}

/** Of the common methods, only POST and PATCH may have another effect when they are sent twice (RFC 9110 §9.2.2). */
function repeatabilityOf(method: string, body: RequestBody): Repeatability {
  if (body instanceof ReadableStream) return "streamed";
  return IDEMPOTENT_METHODS.has(method) ? "repeatable" : "once";
}

const IDEMPOTENT_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "PUT", "DELETE", "OPTIONS"]);
