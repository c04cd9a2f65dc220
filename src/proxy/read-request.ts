import type { Server } from "bun";

import type { Admission as AccessAdmission } from "../access/request.ts";
import { parseRoute } from "../route/parse-route.ts";
import type { Route } from "../route/route.ts";
import { endpointFor, type SandboxRecord } from "../sandbox/provider.ts";
import { rewriteOrigin } from "./browser/request-origin.ts";
import { buildBrowserView } from "./browser/view.ts";
import type { ExchangeSubject } from "./exchange/exchange-subject.ts";
import type { HandlerContext, Progress } from "./handler-context.ts";
import type { WakeRequest } from "./hold/wake-desk.ts";
import type { ClientAddress } from "./request/client-address.ts";
import { checkRequestFraming } from "./request/framing.ts";
import { checkConnectionOptions, type HeaderSnapshot, rewriteRequestHeaders } from "./request/headers.ts";
import { hasToken } from "./request/list-field.ts";
import { checkLoop, LOOP_HEADER } from "./request/loop-guard.ts";
import { collapseLeadingSlashes, parseHost, type RequestTarget } from "./request/target.ts";
import { checkHandshake, isWebSocketUpgrade } from "./websocket/handshake.ts";
import type { TunnelData } from "./websocket/tunnel.ts";

/** A request whose head is in order, whatever sandbox it is for. */
export interface ReadRequest {
  readonly request: Request;
  readonly url: RequestTarget;
  /** The headers as the client sent them. */
  readonly seen: HeaderSnapshot;
  readonly address: ClientAddress;
  readonly host: string;
  readonly route: Route;
  /** As `ExchangeSubject` has it. */
  readonly bodyLength: number | undefined;
}

/** Reads a head, and notes in `progress` what a refusal would report. Throws the refusals of a head that is not in order. */
export function readRequest(
  request: Request,
  url: RequestTarget,
  {
    server,
    progress,
    context,
  }: { readonly server: Server<TunnelData>; readonly progress: Progress; readonly context: HandlerContext },
): ReadRequest {
  const { headers, method } = request;
  const seen: HeaderSnapshot = (progress.seen ??= headers.toJSON());
  const address = (progress.address ??= context.resolveClientAddress(
    server.requestIP(request)?.address ?? "",
    seen["x-forwarded-for"],
  ));
  checkConnectionOptions(seen);
  checkLoop(seen[LOOP_HEADER]);
  progress.isUpgrade = isWebSocketUpgrade(method, seen);

  const host = parseHost(seen["host"]);
  const route = parseRoute({ path: url.path, headers, host }, context.mode);
  progress.route = route;

  const bodyLength = checkRequestFraming(method, seen, context.maxBodyBytes);
  if (progress.isUpgrade) checkHandshake(seen);
  return { request, url, seen, address, host, route, bodyLength };
}

/** The request as it decides whether its sandbox is woken. */
export function toWakeRequest({ request, seen }: ReadRequest, admission: AccessAdmission): WakeRequest {
  return {
    method: request.method,
    path: collapseLeadingSlashes(admission.path),
    purpose: seen["sec-purpose"],
  };
}

/** What the exchange of a request is about. Where no address of the sandbox is known yet, it stands for one that waits. */
export function buildSubject(
  read: ReadRequest,
  {
    record,
    admission,
    progress,
    context,
  }: {
    readonly record: SandboxRecord;
    readonly admission: AccessAdmission;
    readonly progress: Progress;
    readonly context: HandlerContext;
  },
): ExchangeSubject {
  const { request, url, seen, address, host, route, bodyLength } = read;
  const { isUpgrade, requestId, startedAt } = progress;
  const hostPort = endpointFor(record, route.port) ?? "";
  const isSigned = admission.path === route.signedPath;
  const cors = isUpgrade ? undefined : context.cors?.decide(seen["origin"]);
  const { policy } = record;
  const source = { config: context.browser, policy, route, isSigned, host, hostPort, address, seen, cors };
  const browser = buildBrowserView(source);
  const stripped = collapseLeadingSlashes(admission.path);
  const path = browser.keepsPrefix ? route.prefix + stripped : stripped;
  const renews = seen["opensandbox-access-renew"] !== "skip";
  return {
    request,
    route,
    path,
    query: url.query,
    bodyLength,
    hostPort,
    browser,
    clientAddress: address.client,
    requestId,
    isUpgrade,
    isLast: isLastOf(seen["connection"]),
    use: context.renew.listens ? { record, port: route.port, path, renews } : undefined,
    grant: admission.grant,
    startedAt,
  };
}

/** Turns the client's headers into the sandbox's, in place. */
export function rewriteForSandbox(
  { request, seen, address, host, route }: ReadRequest,
  subject: ExchangeSubject,
): void {
  const { headers } = request;
  const { browser, requestId } = subject;
  const prefix = browser.keepsPrefix ? undefined : route.prefix;
  rewriteRequestHeaders(headers, seen, { address, host, prefix, requestId });
  rewriteOrigin(headers, seen, browser);
}

/** Whether a `Connection` field says that the answer is the last of its connection (RFC 9112 §9.6). */
export function isLastOf(connection: string | undefined): boolean {
  return hasToken(connection, "close");
}
