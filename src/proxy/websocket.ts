import type { Server } from "bun";

import type { Clock } from "../clock.ts";
import { IngressError } from "../errors.ts";
import type { ProxyMetrics } from "../metrics.ts";
import { relayAnswer, type BodyContext } from "./body.ts";
import type { BufferBudget } from "./buffer-budget.ts";
import type { Exchange } from "./exchange.ts";
import { type HeaderSnapshot, rewriteResponseHeaders } from "./headers.ts";
import { hasToken, isListTooLong } from "./list-field.ts";
import { Tunnel, type TunnelData, type TunnelSet } from "./tunnel.ts";
import { connectResultOf } from "./upstream-errors.ts";
import { dialWebSocket } from "./websocket-dial.ts";

/** What opening a tunnel needs from the program. */
export interface WebSocketContext {
  readonly body: BodyContext;
  readonly clock: Clock;
  readonly metrics: ProxyMetrics;
  readonly tunnels: TunnelSet;
  /** What may wait in the buffers of all tunnels together. */
  readonly tunnelBudget: BufferBudget;
  /** `--websocket-max-message`. */
  readonly maxMessageBytes: number;
  readonly isDraining: () => boolean;
}

/** Whether a request asks to become a WebSocket (RFC 6455 §4.1). Looked at before hop-by-hop headers are removed. */
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
 * Throws `websocket_version` for a version other than 13, `upgrade_invalid` for a missing or malformed key and for
 * sub-protocols that are no tokens or stand twice.
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
 * Opens a tunnel: dials the sandbox first, so that its refusal reaches the client as it was given, then upgrades the
 * client. Resolves to undefined when the tunnel is open, else to the sandbox's refusal.
 *
 * Throws IngressError when the sandbox cannot be reached or the client has left.
 */
export async function openTunnel(
  exchange: Exchange,
  server: Server<TunnelData>,
  context: WebSocketContext,
): Promise<Response | undefined> {
  const { clock, metrics } = context;
  const startedAt = clock.monotonic();
  exchange.sentAt = startedAt;
  try {
    const dialled = await dialWebSocket(exchange, { maxMessageBytes: context.maxMessageBytes });
    exchange.headAt = clock.monotonic();
    metrics.connected("success", "websocket", exchange.headAt - startedAt);
    if (dialled.kind === "refused") return await relayRefusal(dialled.answer, exchange, context);
    const { headers } = dialled;
    const { requestId } = exchange.subject;
    try {
      rewriteResponseHeaders(headers, { closeConnection: false, requestId });
    } catch (thrown) {
      dialled.socket.terminate();
      throw thrown;
    }
    const tunnel = new Tunnel(exchange, dialled, context);
    if (upgradeClient(exchange, server, { tunnel, headers })) return undefined;
    tunnel.abandon();
    throw new IngressError("client_closed");
  } catch (thrown) {
    const error = exchange.cutBy ?? thrown;
    if (error instanceof IngressError && exchange.headAt === 0) {
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
  exchange.begin(101);
  // Removed as hop-by-hop from what the sandbox gets, but Bun looks for it when it upgrades the client.
  request.headers.set("upgrade", "websocket");
  // Bun would answer with the first of those offered where the sandbox chose none.
  request.headers.delete("sec-websocket-protocol");
  const upgraded = server.upgrade(request, {
    data: { tunnel: options.tunnel },
    headers: options.headers,
  });
  if (!upgraded) exchange.begin(0);
  return upgraded;
}

function relayRefusal(answer: Response, exchange: Exchange, context: WebSocketContext): Response | Promise<Response> {
  const { isLast, requestId } = exchange.subject;
  try {
    rewriteResponseHeaders(answer.headers, { closeConnection: isLast || context.isDraining(), requestId });
  } catch (thrown) {
    void answer.body?.cancel();
    throw thrown;
  }
  return relayAnswer(answer, exchange, context.body);
}
