import type { Server } from "bun";

import type { AccessChecker } from "../access/request.ts";
import type { Clock } from "../clock.ts";
import { IngressError, toIngressError } from "../errors.ts";
import type { ProxyMetrics, RoutingResult } from "../metrics/metrics.ts";
import type { RenewPublisher } from "../renew/publisher.ts";
import { type BrowserConfig, buildBrowserView, keepPath } from "./browser/view.ts";
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
import { buildRefusal } from "./report/refusal.ts";
import type { RequestReport } from "./report/report.ts";
import { checkRequestFraming } from "./request/framing.ts";
import { REQUEST_ID_HEADER, type TakeRequestId } from "./request/request-id.ts";
import { collapseLeadingSlashes, parseHost, parseRequestTarget } from "./request/target.ts";
import type { UnreadBodies } from "./request/unread-body.ts";
import type { TunnelData } from "./websocket/tunnel.ts";
import type { UpstreamPool } from "./upstream/upstream.ts";
import { checkHandshake, isWebSocketUpgrade, openTunnel, type WebSocketContext } from "./websocket/handshake.ts";

/** Answered by the ingress itself on the traffic port, in both modes (docs/contract.md §5). */
const STATUS_PATH = "/status.ok";

/** What the handler works with. Everything in here outlives a request. */
export interface HandlerContext {
  readonly mode: RouteMode;
  readonly browser: BrowserConfig;
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

/** Handles requests, each from top to bottom. */
export class RequestHandler {
  readonly #context: HandlerContext;

  constructor(context: HandlerContext) {
    this.#context = context;
  }

  /** Gives the answer; undefined: a tunnel has been opened. Never rejects. */
  async handle(request: Request, server: Server<TunnelData>): Promise<Response | undefined> {
    const context = this.#context;
    const startedAt = context.clock.monotonic();
    const progress: Progress = {
      startedAt,
      requestId: context.takeRequestId(request.headers.get(REQUEST_ID_HEADER)),
      isUpgrade: false,
      address: undefined,
      route: undefined,
      exchange: undefined,
    };
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
      if (syncing !== undefined) await syncing;

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
      const source = { config: context.browser, policy, route, isSigned, host, hostPort, address, seen };
      const browser = buildBrowserView(source);
      const stripped = collapseLeadingSlashes(settledPath);
      const path = browser.keepsPrefix ? keepPath(route.prefix, target.path, settledPath) : stripped;

      const upstream = context.upstreams.acquire(record, startedAt);
      const client = address.isShared ? undefined : context.register.shareOfClient(address.client);
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

      if (progress.isUpgrade) return await openTunnel(exchange, server, context.websocket);
      // It never rejects, and to wait for it here costs a short request a percent of its time.
      return forwardRequest(exchange, context.forward);
    } catch (thrown) {
      const refusal = this.#refuse(request, progress, toIngressError(thrown));
      const { unreadBodies } = this.#context;
      if (unreadBodies.wants(request)) await unreadBodies.drop(request);
      return refusal;
    }
  }

  #answerStatus(request: Request): Response {
    const headers = new Headers({ "Content-Type": "text/plain; charset=utf-8" });
    if (isLast(request.headers.get("connection") ?? undefined) || this.#context.closesConnections()) {
      headers.set("Connection", "close");
    }
    return new Response("OK", { headers });
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

  /** Reports and answers a request that the ingress answers itself. */
  #refuse(request: Request, progress: Progress, error: IngressError): Response {
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
    const closes = exchange?.subject.isLast ?? isLast(request.headers.get("connection") ?? undefined);
    return buildRefusal(request, error, {
      closeConnection: closes || this.#context.closesConnections(),
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

function checkMethod(method: string): void {
  // CONNECT asks for a tunnel that we are not (RFC 9110 §9.3.6); TRACE would echo headers that a browser must not see.
  if (method === "CONNECT" || method === "TRACE") throw new IngressError("method_not_allowed");
}

function isReading(method: string): boolean {
  return method === "GET" || method === "HEAD";
}
