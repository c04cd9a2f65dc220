import type { Server } from "bun";

import type { AccessChecker } from "../access/request.ts";
import type { Clock } from "../clock.ts";
import { IngressError, toIngressError } from "../errors.ts";
import type { ProxyMetrics, RoutingResult } from "../metrics/metrics.ts";
import type { RenewPublisher } from "../renew/publisher.ts";
import type { BrowserAnswers } from "./browser/browser-answers.ts";
import type { CorsPolicy } from "./browser/cors.ts";
import { type BrowserConfig, buildBrowserView } from "./browser/view.ts";
import { rewriteOrigin } from "./browser/request-origin.ts";
import { parseRoute } from "../route/parse-route.ts";
import type { Route, RouteMode } from "../route/route.ts";
import { endpointFor, type SandboxProvider, type SandboxRecord } from "../sandbox/provider.ts";
import type { Admission } from "./exchange/admission.ts";
import type { ClientAddress, ResolveClientAddress } from "./request/client-address.ts";
import { Exchange, type ExchangeObserver } from "./exchange/exchange.ts";
import type { ExchangeRegister } from "./exchange/register.ts";
import { forwardRequest, type ForwardContext } from "./http/forward.ts";
import { checkConnectionOptions, type HeaderSnapshot, rewriteRequestHeaders } from "./request/headers.ts";
import { hasToken } from "./request/list-field.ts";
import { checkLoop, LOOP_HEADER } from "./request/loop-guard.ts";
import { buildRefusal, completeOwnAnswer } from "./report/refusal.ts";
import type { RequestReport } from "./report/report.ts";
import { checkRequestFraming } from "./request/framing.ts";
import { REQUEST_ID_HEADER, type TakeRequestId } from "./request/request-id.ts";
import { collapseLeadingSlashes, parseHost, parseRequestTarget } from "./request/target.ts";
import type { UnreadBodies } from "./request/unread-body.ts";
import type { TunnelData } from "./websocket/tunnel.ts";
import type { UpstreamPool } from "./upstream/upstream.ts";
import { checkHandshake, isWebSocketUpgrade, openTunnel, type WebSocketContext } from "./websocket/handshake.ts";

/** Answered by the ingress itself on the traffic port, in both modes (docs/contract.md §5). */
export const STATUS_PATH = "/status.ok";

/** What the handler works with. Everything in here outlives a request. */
export interface HandlerContext {
  readonly mode: RouteMode;
  readonly browser: BrowserConfig;
  /** Undefined: `--cors-origins` is off. */
  readonly cors: CorsPolicy | undefined;
  readonly browserAnswers: BrowserAnswers;
  readonly resolveClientAddress: ResolveClientAddress;
  /** `--max-body-size`, bytes; 0: no limit. */
  readonly maxBodyBytes: number;
  readonly clock: Clock;
  readonly metrics: ProxyMetrics;
  readonly provider: SandboxProvider;
  readonly access: AccessChecker;
  readonly renew: RenewPublisher;
  readonly upstreams: UpstreamPool;
  readonly register: ExchangeRegister;
  readonly admission: Admission;
  readonly observer: ExchangeObserver;
  readonly report: RequestReport;
  readonly takeRequestId: TakeRequestId;
  readonly unreadBodies: UnreadBodies;
  readonly forward: ForwardContext;
  readonly websocket: WebSocketContext;
  /** Whether an answer is to be the last of its connection, whatever its client asked for. */
  readonly closesConnections: () => boolean;
  /** Undefined once the list of sandboxes is known, else a promise that waits for it and throws why it is not. */
  readonly ensureSynced: () => Promise<void> | undefined;
}

/** What is known of a request so far; a refusal reports it. */
interface Progress {
  readonly startedAt: number;
  readonly requestId: string;
  isUpgrade: boolean;
  address: ClientAddress | undefined;
  route: Route | undefined;
  exchange: Exchange | undefined;
}

/** What a request comes to; undefined: a tunnel has been opened. Never rejects. */
export type Handled = Response | Promise<Response | undefined>;

/** Handles requests, each from top to bottom. */
export class RequestHandler {
  readonly #context: HandlerContext;

  constructor(context: HandlerContext) {
    this.#context = context;
  }

  /** Never throws. Not async: that would cost a short request a tenth of its time. */
  handle(request: Request, server: Server<TunnelData>): Handled {
    return this.#handle(request, server, {
      startedAt: this.#context.clock.monotonic(),
      requestId: this.#context.takeRequestId(request.headers.get(REQUEST_ID_HEADER)),
      isUpgrade: false,
      address: undefined,
      route: undefined,
      exchange: undefined,
    });
  }

  #handle(request: Request, server: Server<TunnelData>, progress: Progress): Handled {
    const context = this.#context;
    const { startedAt } = progress;
    try {
      // Before the target, which has another form for CONNECT (RFC 9112 §3.2.3).
      checkMethod(request.method);

      const target = parseRequestTarget(request.url);
      if (target.path === STATUS_PATH && isReading(request.method)) return this.#answerStatus(request);

      const { headers, method } = request;
      const seen: HeaderSnapshot = headers.toJSON();
      const address = context.resolveClientAddress(server.requestIP(request)?.address ?? "", seen["x-forwarded-for"]);
      progress.address = address;
      checkConnectionOptions(seen);
      checkLoop(seen[LOOP_HEADER]);
      progress.isUpgrade = isWebSocketUpgrade(method, seen);

      const host = parseHost(seen["host"]);
      const route = parseRoute({ path: target.path, headers, host }, context.mode);
      progress.route = route;

      const bodyLength = checkRequestFraming(method, seen, context.maxBodyBytes);
      if (progress.isUpgrade) checkHandshake(seen);

      const syncing = context.ensureSynced();
      if (syncing !== undefined) return this.#handleAfter(syncing, { request, server, progress });

      const record = this.#resolve(route);

      // Access comes before readiness: without a credential nobody learns whether a secured sandbox is ready.
      const { path: settledPath, grant } = context.access.check({
        route,
        sandboxUid: record.uid,
        accessToken: record.accessToken,
        presentedToken: seen["opensandbox-secure-access"] ?? null,
        clientAddress: address.client,
        peerAddress: address.peer,
        nowMs: context.clock.now(),
      });
      const hostPort = endpointFor(record, route.port);
      if (!record.ready || hostPort === undefined) {
        throw new IngressError("sandbox_not_ready", record.notReady === "" ? undefined : record.notReady);
      }

      const isSigned = settledPath === route.signedPath;
      const { policy } = record;
      const cors = progress.isUpgrade ? undefined : context.cors?.decide(seen["origin"]);
      const source = { config: context.browser, policy, route, isSigned, grant, host, hostPort, address, seen, cors };
      const browser = buildBrowserView(source);
      const stripped = collapseLeadingSlashes(settledPath);
      const path = browser.keepsPrefix ? route.prefix + stripped : stripped;

      const upstream = context.upstreams.acquire(record, startedAt);
      const client = address.isShared ? undefined : context.register.shareOfClient(address);
      context.admission.check(upstream.share, client);

      const isSilent = !context.renew.listens || seen["opensandbox-access-renew"] === "skip";
      const use = isSilent ? undefined : { record, port: route.port, path };
      const exchange = new Exchange(
        {
          request,
          route,
          path,
          query: target.query,
          bodyLength,
          hostPort,
          browser,
          clientAddress: address.client,
          requestId: progress.requestId,
          isUpgrade: progress.isUpgrade,
          isLast: isLast(seen["connection"]),
          use,
          grant,
          startedAt,
        },
        { upstream, client, register: context.register, observer: context.observer },
      );
      progress.exchange = exchange;
      context.metrics.requestStarted();
      if (use !== undefined) context.renew.offer(use);

      const prefix = browser.keepsPrefix ? undefined : route.prefix;
      rewriteRequestHeaders(headers, seen, { address, host, prefix, requestId: progress.requestId });
      rewriteOrigin(headers, seen, browser);

      if (!progress.isUpgrade) return forwardRequest(exchange, context.forward);
      return openTunnel(exchange, server, context.websocket).catch((thrown: unknown) =>
        this.#refuse(request, progress, thrown),
      );
    } catch (thrown) {
      return this.#refuse(request, progress, thrown);
    }
  }

  /** What a browser gets in place of a refusal, if there is something better. Never rejects. */
  async #answerInstead(request: Request, progress: Progress, error: IngressError): Promise<Response | undefined> {
    const { browserAnswers, report } = this.#context;
    const { address, isUpgrade, requestId, startedAt } = progress;
    if (progress.exchange !== undefined || address === undefined) return undefined;
    try {
      const found = await browserAnswers.find({ request, error, address, isUpgrade });
      if (found === undefined) return undefined;
      const { response, route } = found;
      const answer = { status: response.status, route, clientAddress: address.client, requestId, startedAt, isUpgrade };
      report.onAnswered(request, answer);
      return completeOwnAnswer(response, request, { closeConnection: this.#closes(request), requestId });
    } catch (thrown) {
      return this.#buildRefusal(request, progress, toIngressError(thrown));
    }
  }

  /** Begins again at the top when `ready` has come: so far nothing has been taken, and everything may have changed. */
  async #handleAfter(
    ready: Promise<void>,
    { request, server, progress }: { request: Request; server: Server<TunnelData>; progress: Progress },
  ): Promise<Response | undefined> {
    try {
      await ready;
    } catch (thrown) {
      return this.#refuse(request, progress, thrown);
    }
    return this.#handle(request, server, progress);
  }

  #answerStatus(request: Request): Response {
    const headers = new Headers({ "Content-Type": "text/plain; charset=utf-8" });
    if (this.#closes(request)) headers.set("Connection", "close");
    return new Response("OK", { headers });
  }

  /** Whether an answer of our own is the last of its connection. */
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

  /** Reports and answers a request that the ingress answers itself; once what is left of its body is read. */
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
      closeConnection: this.#closes(request, subject),
      cors,
      requestId: progress.requestId,
      route: progress.route,
      countsAsUse: exchange !== undefined,
    });
  }
}

/** RFC 9112 §9.6. */
function isLast(connection: string | undefined): boolean {
  return hasToken(connection, "close");
}

/** Throws `method_not_allowed`. */
export function checkMethod(method: string): void {
  // CONNECT asks for a tunnel that we are not (RFC 9110 §9.3.6); TRACE would echo headers that a browser must not see.
  if (method === "CONNECT" || method === "TRACE") throw new IngressError("method_not_allowed");
}

export function isReading(method: string): boolean {
  return method === "GET" || method === "HEAD";
}
