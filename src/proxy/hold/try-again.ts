import type { IngressError, IngressErrorCode } from "../../errors.ts";
import type { Exchange } from "../exchange/exchange.ts";

/** Failures before which no connection stood, so that the sandbox has got nothing of the request. */
const NOTHING_SENT: ReadonlySet<IngressErrorCode> = new Set(["upstream_refused", "upstream_unresolved"]);

/**
 * Whether a request whose attempt failed may wait and begin again: it has time left, nothing of it was sent, and all of its body
 * is still there. A body that is streamed is made ready to be sent again.
 */
export function mayTryAgain(exchange: Exchange, error: IngressError, nowMs: number): boolean {
  const { patience } = exchange;
  if (patience === undefined || exchange.cutBy !== undefined || nowMs >= patience.untilMs) return false;
  if (!NOTHING_SENT.has(error.code)) return false;
  if (patience.body !== undefined || exchange.subject.bodyLength === 0) return true;
  return patience.rewind?.() ?? true;
}
