import type { Server } from "bun";

import type { Clock } from "../../clock.ts";
import { IngressError } from "../../errors.ts";
import type { ProxyMetrics } from "../../metrics/metrics.ts";
import { rewriteAnswerUrls } from "../browser/answer-urls.ts";
import { type AnswerBodyContext, relayAnswer } from "../http/answer-body.ts";
import type { EndpointLocator } from "../upstream/locator.ts";
import type { Exchange } from "../exchange/exchange.ts";
import { type HeaderSnapshot, rewriteResponseHeaders } from "../request/headers.ts";
import { hasToken, isListTooLong } from "../request/list-field.ts";
import { Tunnel, type TunnelData } from "./tunnel.ts";
import type { TunnelSet } from "./open-tunnels.ts";
import { connectResultOf, toUpstreamError } from "../upstream/errors.ts";
import { dialWebSocket, type UpstreamSocket } from "./dial.ts";

/** What opening a tunnel needs from the program. */
export interface WebSocketContext {
  readonly answerBody: AnswerBodyContext;
  readonly clock: Clock;
  readonly metrics: ProxyMetrics;
  readonly locator: EndpointLocator;
  readonly tunnels: TunnelSet;
  /** `--websocket-max-message`. */
  readonly maxMessageBytes: number;
  readonly closesConnections: () => boolean;
}

/** Whether a request asks for a WebSocket (RFC 6455 §4.1). Call it before hop-by-hop headers are removed. */
export function isWebSocketUpgrade(method: string, seen: HeaderSnapshot): boolean {
  const upgrade = seen["upgrade"];
  return (
    upgrade !== undefined &&
    method === "GET" &&
    hasToken(upgrade, "websocket") &&
    hasToken(seen["connection"], "upgrade")
  );
}

/**
 * Checks the client's half of the handshake (RFC 6455 §4.2.1).
 * Throws `websocket_version` for a version other than 13. Throws `upgrade_invalid` for a missing or malformed key, and
 * for sub-protocols that are not tokens or appear twice.
 */
export function checkHandshake(seen: HeaderSnapshot): void {
  if (seen["sec-websocket-version"] !== "13") throw new IngressError("websocket_version");
  // Sixteen bytes in base64: 22 characters, the last of which carries four bits, and the padding.
  if (!/^[A-Za-z0-9+/]{21}[AQgw]==$/.test(seen["sec-websocket-key"] ?? "")) throw new IngressError("upgrade_invalid");
  checkSubProtocols(seen["sec-websocket-protocol"]);
}

/** RFC 6455 §4.1: tokens, each once; at most `LIST_ELEMENTS_MAX`. */
function checkSubProtocols(value: string | undefined): void {
  if (value === undefined) return;
  if (isListTooLong(value)) throw new IngressError("upgrade_invalid", "too many sub-protocols");
  const names = value.split(",").map((name) => name.trim());
  const areTokens = names.every((name) => /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name));
  if (!areTokens || new Set(names).size < names.length) throw new IngressError("upgrade_invalid");
}

/**
 * Opens a tunnel. It dials the sandbox first, so that the client gets a refusal unchanged, and then upgrades the
 * client. Resolves to undefined when the tunnel is open, else to the sandbox's refusal.
 *
 * Throws IngressError if the sandbox cannot be reached or the client has left.
 */
export async function openTunnel(
  exchange: Exchange,
  server: Server<TunnelData>,
  context: WebSocketContext,
): Promise<Response | undefined> {
  const { clock, metrics } = context;
  const startedAt = clock.monotonic();
  /** The sandbox's end, until a tunnel owns it. */
  let unowned: UpstreamSocket | undefined;
  try {
    const located = context.locator.locate(exchange);
    const dialled = typeof located === "string" ? located : await located;
    exchange.connect(clock.monotonic());
    exchange.dialled = dialled;
    const result = await dialWebSocket(exchange, { maxMessageBytes: context.maxMessageBytes });
    if (result.kind === "open") unowned = result.socket;
    exchange.answered(clock.monotonic());
    exchange.upstream.noteConnected(exchange.subject.route.port);
    metrics.connected("success", "websocket", clock.monotonic() - startedAt);
    if (result.kind === "refused") return await relayRefusal(result.answer, exchange, context);
    const { headers } = result;
    const { requestId, browser } = exchange.subject;
    rewriteAnswerUrls(headers, rewriteResponseHeaders(headers, { closeConnection: false, requestId }), browser);
    const tunnel = new Tunnel(exchange, result, context);
    if (upgradeClient(exchange, server, { tunnel, headers })) return undefined;
    tunnel.abandon();
    throw new IngressError("client_closed");
  } catch (thrown) {
    unowned?.terminate();
    const error = exchange.cutBy ?? thrown;
    if (error instanceof IngressError && exchange.headAt === undefined) {
      metrics.connected(connectResultOf(error.code) ?? "other", "websocket", clock.monotonic() - startedAt);
    }
    throw error;
  }
}

function upgradeClient(
  exchange: Exchange,
  server: Server<TunnelData>,
  options: { readonly tunnel: Tunnel; readonly headers: Headers },
): boolean {
  const { request } = exchange.subject;
  // This was removed as a hop-by-hop header, but Bun needs it to upgrade the client.
  request.headers.set("upgrade", "websocket");
  // If the sandbox chose no sub-protocol, Bun would answer with the first one offered.
  request.headers.delete("sec-websocket-protocol");
  // Bun opens the tunnel during this call.
  return server.upgrade(request, {
    data: { tunnel: options.tunnel },
    headers: options.headers,
  });
}

async function relayRefusal(answer: Response, exchange: Exchange, context: WebSocketContext): Promise<Response> {
  const { door, isLast } = exchange.subject;
  const seen = rewriteResponseHeaders(answer.headers, {
    closeConnection: isLast || door.isRetired || context.closesConnections(),
    requestId: exchange.subject.requestId,
  });
  rewriteAnswerUrls(answer.headers, seen, exchange.subject.browser);
  try {
    return await relayAnswer(answer, exchange, context.answerBody);
  } catch (thrown) {
    // The refusal is read while it is passed on, so a failure is that of the sandbox's connection.
    throw toUpstreamError(thrown);
  }
}
