import type { IngressError, IngressErrorCode } from "../../errors.ts";
import type { Exchange } from "../exchange/exchange.ts";

/** Failures before a connection was open. The sandbox got nothing of the request. */
const NOTHING_SENT: ReadonlySet<IngressErrorCode> = new Set(["upstream_refused", "upstream_unresolved"]);

/**
 * Whether a request whose attempt failed may wait and start again: it has time left, nothing of it was sent, and its
 * whole body is still there. Prepares a streamed body to be sent again.
 */
export function mayTryAgain(exchange: Exchange, error: IngressError, nowMs: number): boolean {
  const { patience } = exchange;
  if (patience === undefined || exchange.cutBy !== undefined || nowMs >= patience.untilMs) return false;
  if (!NOTHING_SENT.has(error.code)) return false;
  if (patience.body !== undefined || exchange.subject.bodyLength === 0) return true;
  return patience.rewind?.() ?? true;
}
