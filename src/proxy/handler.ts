import type { Server } from "bun";

import type { Admission as AccessAdmission } from "../access/request.ts";
import { IngressError, toIngressError } from "../errors.ts";
import type { RoutingResult } from "../metrics/metrics.ts";
import { buildBrowserView, keepPath } from "./browser/view.ts";
import { rewriteOrigin } from "./browser/request-origin.ts";
import type { HandlerContext, Progress, Visit } from "./handler-context.ts";
import { parseRoute } from "../route/parse-route.ts";
import type { Route } from "../route/route.ts";
import { endpointFor, type SandboxRecord } from "../sandbox/provider.ts";
import { TRACE_PARENT_HEADER, TRACE_STATE_HEADER } from "../traces/trace-context.ts";
import type { Tracer } from "../traces/tracer.ts";
import type { ClientAddress } from "./request/client-address.ts";
import type { Door } from "./request/door.ts";
import { Exchange, type Patience } from "./exchange/exchange.ts";
import type { ExchangeSubject } from "./exchange/exchange-subject.ts";
import { forwardRequest } from "./http/forward.ts";
import {
  checkConnectionOptions,
  type HeaderSnapshot,
  restoreHeaders,
  rewriteRequestHeaders,
} from "./request/headers.ts";
import { hasToken } from "./request/list-field.ts";
import { checkLoop, LOOP_HEADER } from "./request/loop-guard.ts";
import { buildRefusal, completeOwnAnswer } from "./report/refusal.ts";
import { announcesBody, checkRequestFraming, hasUnannouncedBody } from "./request/framing.ts";
import { REQUEST_ID_HEADER } from "./request/request-id.ts";
import { collapseLeadingSlashes, parseHost, parseRequestTarget } from "./request/target.ts";
import type { TunnelData } from "./websocket/tunnel.ts";
import { notReadyError } from "./hold/hold-room.ts";
import { mayTryAgain } from "./hold/try-again.ts";
import type { Upstream } from "./upstream/upstream.ts";
import { checkHandshake, isWebSocketUpgrade, openTunnel } from "./websocket/handshake.ts";

/** Answered by the ingress itself on the traffic port, in both modes (docs/contract.md §5). */
export const STATUS_PATH = "/status.ok";

/** The ingress answers this path too: whether it reaches sandboxes (docs/contract.md §9). */
export const READINESS_PATH = "/status.ok/network-readiness";

/** The result of a request; undefined: a tunnel has been opened. Never rejects. */
export type Handled = Response | Promise<Response | undefined>;

/** Handles requests, each from top to bottom. */
export class RequestHandler {
  readonly #context: HandlerContext;

  constructor(context: HandlerContext) {
    this.#context = context;
  }

  /** Never throws. It is not async, since that would cost a short request a tenth of its time. */
  handle(request: Request, server: Server<TunnelData>, door: Door): Handled {
    const seen: HeaderSnapshot = request.headers.toJSON();
    return this.#handle(request, server, {
      startedAt: this.#context.clock.monotonic(),
      requestId: this.#context.takeRequestId(seen[REQUEST_ID_HEADER]),
      door,
      isUpgrade: false,
      seen,
      record: undefined,
      admission: undefined,
      address: undefined,
      route: undefined,
      exchange: undefined,
      hasWaited: false,
      trace: undefined,
    });
  }

  #handle(request: Request, server: Server<TunnelData>, progress: Progress): Handled {
    const context = this.#context;
    const { startedAt, door } = progress;
    try {
      const { tracer } = context;
      if (tracer !== undefined) this.#beginTrace(tracer, { request, server, progress });
      // CONNECT is refused first, since its target has another form (RFC 9112 §3.2.3).
      checkMethod(request.method);

      const url = parseRequestTarget(request.url);
      if (url.path.startsWith(STATUS_PATH) && isReading(request.method)) {
        if (url.path === STATUS_PATH) return this.#answerStatus(request);
        if (url.path === READINESS_PATH) return this.#answerReadiness(request);
      }

      const { headers, method } = request;
      const { seen } = progress;
      const address = (progress.address ??= this.#resolveClient(request, server, seen));
      checkConnectionOptions(seen);
      checkLoop(seen[LOOP_HEADER]);
      progress.isUpgrade = isWebSocketUpgrade(method, seen);

      const host = parseHost(seen["host"]);
      const route = parseRoute({ path: url.path, headers, host }, context.mode);
      progress.route = route;

      const announced = checkRequestFraming(method, seen, context.maxBodyBytes);
      const bodyLength = context.http2 && hasUnannouncedBody(request, seen) ? undefined : announced;
      if (progress.isUpgrade) checkHandshake(seen);

      const syncing = context.ensureSynced();
      if (syncing !== undefined) return this.#handleAfter(syncing, { request, server, progress });

      const record = this.#resolve(route);
      progress.record = record;
      // Access comes before readiness. A client without a credential must not learn whether a secured sandbox is ready.
      const { path: settledPath, grant } = this.#checkAccess(progress, { route, record, seen, address });
      if (context.policies.concerns(record)) this.#checkPolicy(progress, { route, record, method, seen, bodyLength });
      const hostPort = endpointFor(record, route.port);
      const isReady = record.ready && hostPort !== undefined;

      const isSigned = settledPath === route.signedPath;
      const { policy } = record;
      const cors = progress.isUpgrade ? undefined : context.cors?.decide(seen["origin"]);
      const stripped = collapseLeadingSlashes(settledPath);
      const purpose = seen["sec-purpose"] ?? seen["purpose"];
      const wakes = !isReady && context.holds.wakes(record, { method, path: stripped, purpose });
      const patience = progress.exchange?.patience ?? context.holds.patienceFor(request, record, { wakes });
      if (!isReady && patience === undefined) throw notReadyError(record);

      // Empty if no address is known yet. It is replaced when the wait is over.
      const target = hostPort ?? "";
      const source = {
        config: context.browser,
        policy,
        route,
        isSigned,
        grant,
        host,
        scheme: door.scheme,
        hostPort: target,
        address,
        seen,
        cors,
      };
      const browser = buildBrowserView(source);
      const path = browser.keepsPrefix ? keepPath(route.prefix, url.path, settledPath) : stripped;
      const renews = seen["opensandbox-access-renew"] !== "skip";
      const use = context.renew.listens ? { record, port: route.port, path, renews } : undefined;
      const subject: ExchangeSubject = {
        request,
        route,
        path,
        query: url.query,
        bodyLength,
        hostPort: target,
        browser,
        clientAddress: address.client,
        door,
        requestId: progress.requestId,
        isUpgrade: progress.isUpgrade,
        isLast: isLast(seen["connection"]),
        use,
        grant,
        policy,
        startedAt,
        trace: progress.trace,
      };
      // The sandbox's time begins now. A wait for the list of sandboxes, or for this one, does not count.
      const nowMs = progress.hasWaited ? context.clock.monotonic() : startedAt;
      const upstream = context.upstreams.acquire(record, nowMs);
      const waited = progress.exchange;
      const isCounted = waited?.upstream.uid === record.uid;
      const exchange = waited ?? this.#begin(progress, { subject, upstream, patience, nowMs });
      if (progress.hasWaited) exchange.settle(subject, { upstream, nowMs });
      if (!isCounted) context.policies.countRequest(record);
      if (!isReady) {
        return this.#handleAfter(context.holds.untilReady(exchange, record, { wakes }), { request, server, progress });
      }
      exchange.isForwarded = true;
      if (use !== undefined) context.renew.offer(use);

      const prefix = browser.keepsPrefix ? undefined : route.prefix;
      rewriteRequestHeaders(headers, seen, {
        address,
        host,
        prefix,
        scheme: door.scheme,
        requestId: progress.requestId,
      });
      rewriteOrigin(headers, seen, browser);
      progress.trace?.forward(headers, context.clock.monotonic());

      if (!progress.isUpgrade) {
        const forwarded = forwardRequest(exchange, context.forward);
        return patience === undefined ? forwarded : this.#attempt(forwarded, { request, server, progress });
      }
      return this.#attempt(openTunnel(exchange, server, context.websocket), { request, server, progress });
    } catch (thrown) {
      return this.#refuse(request, progress, thrown);
    }
  }

  #resolveClient(request: Request, server: Server<TunnelData>, seen: HeaderSnapshot): ClientAddress {
    return this.#context.resolveClientAddress(server.requestIP(request)?.address ?? "", seen["x-forwarded-for"]);
  }

  /** Begins the trace before anything can be refused. A request that starts again at the top keeps its trace. */
  #beginTrace(tracer: Tracer, { request, server, progress }: Visit): void {
    if (progress.trace !== undefined) return;
    const { seen } = progress;
    const { peerTrusted } = (progress.address ??= this.#resolveClient(request, server, seen));
    progress.trace = tracer.begin({
      traceparent: seen[TRACE_PARENT_HEADER],
      tracestate: seen[TRACE_STATE_HEADER],
      isTrusted: peerTrusted,
      startedAt: progress.startedAt,
    });
  }

  /** Checks access. A request that has waited is not checked again, but what admitted it must still be valid. */
  #checkAccess(
    progress: Progress,
    {
      route,
      record,
      seen,
      address,
    }: { route: Route; record: SandboxRecord; seen: HeaderSnapshot; address: ClientAddress },
  ): AccessAdmission {
    const { access, clock } = this.#context;
    const { admission } = progress;
    const nowMs = clock.now();
    if (admission !== undefined && progress.exchange?.upstream.uid === record.uid) {
      if (access.isStillGranted(admission.grant, { accessToken: record.accessToken, nowMs })) return admission;
      throw new IngressError("access_revoked");
    }
    progress.admission = access.check({
      route,
      sandboxUid: record.uid,
      accessToken: record.accessToken,
      presentedToken: seen["opensandbox-secure-access"] ?? null,
      clientAddress: address.client,
      peerAddress: address.peer,
      nowMs,
    });
    return progress.admission;
  }

  /**
   * Checks what the sandbox's annotations allow. A request that has waited is checked again, since nothing of it was
   * sent, but `rate` counts it once, and only when nothing else refuses it. Access comes first: a client without a
   * credential must not learn the policy of a secured sandbox.
   */
  #checkPolicy(
    progress: Progress,
    asked: {
      readonly route: Route;
      readonly record: SandboxRecord;
      readonly method: string;
      readonly seen: HeaderSnapshot;
      readonly bodyLength: number | undefined;
    },
  ): void {
    const { policies } = this.#context;
    const { route, record, method, seen, bodyLength } = asked;
    const clientAddress = progress.address?.client ?? "";
    policies.check(record, { port: route.port, method, origin: seen["origin"], clientAddress, bodyLength });
    if (progress.exchange?.upstream.uid !== record.uid) policies.checkRate(record);
  }

  /** Takes a place in the register. Throws if there is no free place. */
  #begin(
    progress: Progress,
    begun: { subject: ExchangeSubject; upstream: Upstream; patience: Patience | undefined; nowMs: number },
  ): Exchange {
    const { register, admission, observer, metrics } = this.#context;
    const { subject, upstream, patience, nowMs } = begun;
    const { address } = progress;
    const client = address?.isShared === false ? register.shareOfClient(address) : undefined;
    admission.check({ sandbox: upstream.share, client, ownMax: subject.policy?.maxRequests, nowMs });
    const exchange = new Exchange(subject, { upstream, client, register, observer });
    exchange.patience = patience;
    progress.exchange = exchange;
    metrics.requestStarted();
    return exchange;
  }

  /**
   * Waits for an attempt to reach the sandbox. If the connection was refused and the request has time left, it starts
   * again at the top.
   */
  async #attempt(attempt: Promise<Response | undefined>, visit: Visit): Promise<Response | undefined> {
    const { request, progress } = visit;
    const { clock, holds } = this.#context;
    try {
      const answer = await attempt;
      if (answer === undefined && progress.exchange !== undefined) this.#context.report.onUpgraded(progress.exchange);
      return answer;
    } catch (thrown) {
      const { exchange, record, seen } = progress;
      const error = toIngressError(thrown);
      if (exchange === undefined || record === undefined || !mayTryAgain(exchange, error, clock.monotonic())) {
        return this.#refuse(request, progress, error);
      }
      restoreHeaders(request.headers, seen);
      return this.#handleAfter(holds.untilNextAttempt(exchange, record, error), visit);
    }
  }

  /** The answer that a browser gets instead of a refusal; undefined: the refusal is the best answer. Never rejects. */
  async #answerInstead(request: Request, progress: Progress, error: IngressError): Promise<Response | undefined> {
    const { browserAnswers, report } = this.#context;
    const { address, door, isUpgrade, requestId, startedAt } = progress;
    if (progress.exchange !== undefined || address === undefined) return undefined;
    try {
      const found = await browserAnswers.find({ request, error, address, isUpgrade });
      if (found === undefined) return undefined;
      const { response, route } = found;
      report.onAnswered(request, {
        status: response.status,
        route,
        clientAddress: address.client,
        requestId,
        startedAt,
        isUpgrade,
        trace: progress.trace,
      });
      return completeOwnAnswer(response, request, {
        closeConnection: door.isRetired || this.#closes(request),
        requestId,
      });
    } catch (thrown) {
      return this.#buildRefusal(request, progress, toIngressError(thrown));
    }
  }

  /**
   * Starts again at the top when `ready` resolves, since everything may have changed. What the request holds so far is
   * kept.
   */
  async #handleAfter(ready: Promise<void>, { request, server, progress }: Visit): Promise<Response | undefined> {
    try {
      await ready;
      progress.exchange?.checkOpen();
    } catch (thrown) {
      return this.#refuse(request, progress, thrown);
    }
    progress.hasWaited = true;
    return this.#handle(request, server, progress);
  }

  #answerStatus(request: Request): Response {
    return this.#answerText(request, "OK");
  }

  /** The status does not change, since probes that end pods read it. */
  #answerReadiness(request: Request): Response {
    const { networkReadiness, clock } = this.#context;
    const headers = { "Cache-Control": "no-store" };
    if (networkReadiness === undefined) return this.#answerText(request, "not found\n", { status: 404, headers });
    const isDegraded = networkReadiness.isDegraded(clock.monotonic());
    return this.#answerText(request, isDegraded ? "DEGRADED" : "OK", { headers });
  }

  #answerText(
    request: Request,
    text: string,
    { status = 200, headers = {} }: { status?: number; headers?: Readonly<Record<string, string>> } = {},
  ): Response {
    const all = new Headers({ "Content-Type": "text/plain; charset=utf-8", ...headers });
    if (this.#closes(request) || announcesBody(request.headers)) all.set("Connection", "close");
    return new Response(text, { status, headers: all });
  }

  /** Whether an answer of the ingress itself is the last of its connection. */
  #closes(request: Request, subject?: { readonly isLast: boolean }): boolean {
    const isAsked = subject?.isLast ?? isLast(request.headers.get("connection") ?? undefined);
    return isAsked || this.#context.closesConnections();
  }

  #resolve(route: Route): SandboxRecord {
    const { clock, metrics, provider } = this.#context;
    const startedAt = clock.monotonic();
    const resolution = provider.resolve(route.sandboxId);
    const report = (result: RoutingResult): void => metrics.resolved(result, clock.monotonic() - startedAt);
    switch (resolution.state) {
      case "found":
        report(resolution.record.ready ? "success" : "not_ready");
        return resolution.record;
      case "ambiguous":
        report("error");
        throw new IngressError("sandbox_ambiguous");
      case "not-found":
        report("not_found");
        throw new IngressError("sandbox_not_found");
    }
  }

  /** Reports the refusal of a request and answers it. First reads the rest of its body, within limits. */
  async #refuse(request: Request, progress: Progress, thrown: unknown): Promise<Response> {
    const error = toIngressError(thrown);
    const answer =
      (await this.#answerInstead(request, progress, error)) ?? this.#buildRefusal(request, progress, error);
    const { unreadBodies } = this.#context;
    return unreadBodies.wants(request) ? unreadBodies.answer(request, answer) : answer;
  }

  #buildRefusal(request: Request, progress: Progress, error: IngressError): Response {
    const { exchange } = progress;
    if (exchange === undefined) {
      this.#context.report.onRefused(request, {
        error,
        route: progress.route,
        clientAddress: progress.address?.client ?? "",
        requestId: progress.requestId,
        startedAt: progress.startedAt,
        isUpgrade: progress.isUpgrade,
        trace: progress.trace,
      });
    } else {
      exchange.end(error);
    }
    // The headers of an exchange have been rewritten in place, so it remembers what the client asked for.
    const subject = exchange?.subject;
    const { cors } = subject?.browser ?? {
      cors: this.#context.cors?.decide(request.headers.get("origin") ?? undefined),
    };
    return buildRefusal(request, error, {
      closeConnection: progress.door.isRetired || this.#closes(request, subject),
      cors,
      requestId: progress.requestId,
      route: progress.route,
      countsAsUse: exchange?.isForwarded === true,
    });
  }
}

/** RFC 9112 §9.6. */
function isLast(connection: string | undefined): boolean {
  return hasToken(connection, "close");
}

/** Throws `method_not_allowed`. */
export function checkMethod(method: string): void {
  // The ingress is not a forward proxy, so it refuses CONNECT (RFC 9110 §9.3.6). TRACE would echo headers that a
  // browser must not see.
  if (method === "CONNECT" || method === "TRACE") throw new IngressError("method_not_allowed");
}

export function isReading(method: string): boolean {
  return method === "GET" || method === "HEAD";
}
