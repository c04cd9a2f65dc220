import type { Server } from "bun";

import type { AccessChecker } from "../access/access.ts";
import type { Clock } from "../clock.ts";
import { IngressError, toIngressError } from "../errors.ts";
import type { ProxyMetrics, RoutingResult } from "../metrics.ts";
import type { RenewPublisher } from "../renew/renew-publisher.ts";
import { parseRoute } from "../route/parse-route.ts";
import type { Route, RouteMode } from "../route/route.ts";
import { endpointFor, type SandboxProvider, type SandboxRecord } from "../sandbox/provider.ts";
import { checkRequestFraming } from "./body.ts";
import type { ClientAddress, ResolveClientAddress } from "./client-address.ts";
import { Exchange, type ExchangeObserver } from "./exchange.ts";
import { forwardRequest, type ForwardContext } from "./forward.ts";
import { hasToken, type HeaderSnapshot, rewriteRequestHeaders } from "./headers.ts";
import type { Limits } from "./limits.ts";
import { buildRefusal } from "./refusal.ts";
import { collapseLeadingSlashes, parseHost, parseRequestTarget, type RequestTarget } from "./request-target.ts";
import type { TunnelData } from "./tunnel.ts";
import type { UpstreamPool } from "./upstream.ts";
import type { Watchdog } from "./watchdog.ts";
import { checkHandshake, isWebSocketUpgrade, openTunnel, type WebSocketContext } from "./websocket.ts";

/** How long a request waits for the first sync before it is refused, in milliseconds: longer than an ordinary start. */
const SYNC_WAIT_MAX_MS = 5_000;

/** Requests that wait for the first sync at a time: they hold little, but arrive without bound while nothing is routed. */
const SYNC_WAITERS_MAX = 1_000;

/** Answered by the ingress itself on the traffic port, in both modes (seed, contract §5). */
const STATUS_PATH = "/status.ok";

/** What the handler works with. Everything in here outlives a request. */
export interface HandlerContext {
  readonly mode: RouteMode;
  readonly resolveClientAddress: ResolveClientAddress;
  readonly maxBodyBytes: number;
  readonly clock: Clock;
  readonly metrics: ProxyMetrics;
  readonly provider: SandboxProvider;
  readonly access: AccessChecker;
  readonly renew: RenewPublisher;
  readonly upstreams: UpstreamPool;
  readonly limits: Limits;
  readonly watchdog: Watchdog;
  readonly observer: ExchangeObserver;
  readonly report: RequestReport;
  readonly forward: ForwardContext;
  readonly websocket: WebSocketContext;
  readonly isDraining: () => boolean;
  /** Resolves once the first list of sandboxes is applied, or throws why it is not. */
  readonly ensureSynced: () => Promise<void> | undefined;
}

/** Told of a request that the ingress answered itself. Requests that became an exchange are told by its observer. */
export interface RequestReport {
  onRefused(request: Request, refusal: Refusal): void;
}

export interface Refusal {
  readonly error: IngressError;
  readonly route: Route | undefined;
  readonly clientAddress: string;
  /** Monotonic milliseconds. */
  readonly startedAt: number;
  readonly websocket: boolean;
}

/** What a request comes to; undefined: a tunnel has been opened. */
type Handled = Response | Promise<Response | undefined>;

/** Handles one request. Never throws, and what it returns never rejects. */
export type ProxyHandler = (request: Request, server: Server<TunnelData>) => Handled;

/** What is known of a request so far; the catch block reports it. */
interface Progress {
  readonly startedAt: number;
  websocket: boolean;
  address: ClientAddress | undefined;
  route: Route | undefined;
  exchange: Exchange | undefined;
}

export function createProxyHandler(context: HandlerContext): ProxyHandler {
  // Not async, nor is anything between here and `fetch`: each such layer costs a short request a percent of its time.
  return (request, server) => {
    const progress: Progress = {
      startedAt: context.clock.monotonic(),
      websocket: false,
      address: undefined,
      route: undefined,
      exchange: undefined,
    };
    try {
      // Before the target, which has another form for CONNECT (RFC 9112 §3.2.3).
      checkMethod(request.method);
      const target = parseRequestTarget(request.url);
      if (target.path === STATUS_PATH && isReading(request.method)) return answerStatus(request, context);
      const asked = readRequest(request, server, { target, progress, context });
      const syncing = context.ensureSynced();
      if (syncing === undefined) return serve(request, server, { asked, progress, context });
      return syncing
        .then(() => serve(request, server, { asked, progress, context }))
        .catch((thrown: unknown) => refuse(request, progress, { error: toIngressError(thrown), context }));
    } catch (thrown) {
      return refuse(request, progress, { error: toIngressError(thrown), context });
    }
  };
}

/** Throws what refuses the request before it is sent; failures after that are answers. */
function serve(
  request: Request,
  server: Server<TunnelData>,
  options: { readonly asked: AskedRequest; readonly progress: Progress; readonly context: HandlerContext },
): Handled {
  const { asked, progress, context } = options;
  const exchange = beginExchange(request, asked, { progress, context });
  if (exchange.kind === "request") return forwardRequest(exchange, context.forward);
  return openTunnel(exchange, server, context.websocket).catch((thrown: unknown) =>
    refuse(request, progress, { error: toIngressError(thrown), context }),
  );
}

/** What a request says of itself: checked, and independent of any sandbox. */
interface AskedRequest {
  readonly target: RequestTarget;
  readonly host: string;
  readonly seen: HeaderSnapshot;
  readonly address: ClientAddress;
  readonly route: Route;
  /** As `checkRequestFraming` gives it. */
  readonly bodyLength: number | undefined;
}

function readRequest(
  request: Request,
  server: Server<TunnelData>,
  options: { readonly target: RequestTarget; readonly progress: Progress; readonly context: HandlerContext },
): AskedRequest {
  const { target, progress, context } = options;
  const { headers, method } = request;
  const seen: HeaderSnapshot = headers.toJSON();
  const peer = server.requestIP(request)?.address ?? "";
  const address = context.resolveClientAddress(peer, seen["x-forwarded-for"]);
  progress.address = address;
  progress.websocket = isWebSocketUpgrade(method, seen);

  const host = parseHost(seen["host"]);
  const route = parseRoute({ path: target.path, headers, host }, context.mode);
  progress.route = route;
  const bodyLength = checkRequestFraming(method, seen, context.maxBodyBytes);
  if (progress.websocket) checkHandshake(seen);
  return { target, host, seen, address, route, bodyLength };
}

/** From the sandbox's record to a request that is in flight: refused, or counted and about to be sent. */
function beginExchange(
  request: Request,
  asked: AskedRequest,
  options: { readonly progress: Progress; readonly context: HandlerContext },
): Exchange {
  const { progress, context } = options;
  const { address, host, route, seen } = asked;
  const record = resolve(route, context);

  // Access comes before readiness: without a credential nobody learns whether a secured sandbox is ready.
  const { path: settledPath } = context.access.check({
    route,
    sandboxUid: record.uid,
    accessToken: record.accessToken,
    presentedToken: seen["opensandbox-secure-access"] ?? null,
    clientAddress: address.client,
    peerAddress: address.peer,
    nowMs: context.clock.now(),
  });
  const path = collapseLeadingSlashes(settledPath);
  const hostPort = endpointFor(record, route.port);
  if (!record.ready || hostPort === undefined) {
    throw new IngressError("sandbox_not_ready", record.notReady === "" ? undefined : record.notReady);
  }

  const upstream = context.upstreams.acquire(record, progress.startedAt);
  context.limits.check(upstream);
  rewriteRequestHeaders(request.headers, seen, { address, host, prefix: route.prefix });
  const silent = !context.renew.listens || seen["opensandbox-access-renew"] === "skip";
  const use = silent ? undefined : { record, port: route.port, path };
  const exchange = new Exchange(
    {
      request,
      route,
      path,
      query: asked.target.query,
      bodyLength: asked.bodyLength,
      hostPort,
      clientAddress: address.client,
      isLast: isLast(seen["connection"]),
      use,
      startedAt: progress.startedAt,
    },
    upstream,
    context.observer,
  );
  progress.exchange = exchange;
  if (progress.websocket) exchange.kind = "tunnel";
  context.limits.enter();
  context.watchdog.watch(exchange);
  context.metrics.requestStarted();
  if (use !== undefined) context.renew.offer(use);
  return exchange;
}

function answerStatus(request: Request, context: HandlerContext): Response {
  const headers = new Headers({ "Content-Type": "text/plain; charset=utf-8" });
  if (isLast(request.headers.get("connection")) || context.isDraining()) headers.set("Connection", "close");
  return new Response("OK", { headers });
}

/** RFC 9112 §9.6. */
function isLast(connection: string | null | undefined): boolean {
  return hasToken(connection ?? undefined, "close");
}

function checkMethod(method: string): void {
  // CONNECT asks for a tunnel that we are not (RFC 9110 §9.3.6); TRACE would echo headers that a browser must not see.
  if (method === "CONNECT" || method === "TRACE") throw new IngressError("method_not_allowed");
}

function isReading(method: string): boolean {
  return method === "GET" || method === "HEAD";
}

/**
 * Gives a function that returns undefined once the provider is synced, for ever after; before that a promise that
 * waits for it and throws `not_synced`, or `kubernetes_unavailable` where the provider says what is wrong.
 */
export function createSyncGate(provider: SandboxProvider): () => Promise<void> | undefined {
  let synced = false;
  let waiters = 0;
  const wait = async (): Promise<void> => {
    waiters++;
    synced = await provider.whenSynced(waiters > SYNC_WAITERS_MAX ? 0 : SYNC_WAIT_MAX_MS).finally(() => waiters--);
    if (synced) return;
    const { fault } = provider.status();
    // Not knowing a sandbox yet must never look like knowing that there is none.
    if (fault === undefined) throw new IngressError("not_synced");
    throw new IngressError("kubernetes_unavailable", undefined, { cause: fault });
  };
  return () => (synced ? undefined : wait());
}

function resolve(route: Route, context: HandlerContext): SandboxRecord {
  const startedAt = context.clock.monotonic();
  const resolution = context.provider.resolve(route.sandboxId);
  const report = (result: RoutingResult): void =>
    context.metrics.resolved(result, context.clock.monotonic() - startedAt);
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

/** Reports and answers what came to nothing. */
function refuse(
  request: Request,
  progress: Progress,
  options: { readonly error: IngressError; readonly context: HandlerContext },
): Response {
  const { error, context } = options;
  const { exchange } = progress;
  if (exchange === undefined) {
    context.report.onRefused(request, {
      error,
      route: progress.route,
      clientAddress: progress.address?.client ?? "",
      startedAt: progress.startedAt,
      websocket: progress.websocket,
    });
  } else {
    exchange.end(error);
  }
  // An exchange has no hop-by-hop headers any more, and remembers.
  const last = exchange?.subject.isLast ?? isLast(request.headers.get("connection"));
  return buildRefusal(request, error, { closeConnection: last || context.isDraining() });
}
