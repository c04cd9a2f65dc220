import { IngressError, type IngressErrorCode } from "../../errors.ts";
import type { ConnectResult } from "../../metrics/metrics.ts";
import { codeOf } from "../../values.ts";

/**
 * The meaning of a failed dial or `fetch`, by the `code` of Bun's error. A failure without a known code happened while
 * an answer was read, and counts as an invalid answer.
 */
const BY_CODE: Readonly<Record<string, IngressErrorCode>> = {
  ECONNREFUSED: "upstream_refused",
  ConnectionRefused: "upstream_refused",

  ENOTFOUND: "upstream_unresolved",
  EAI_AGAIN: "upstream_unresolved",
  ENODATA: "upstream_unresolved",
  ESERVFAIL: "upstream_unresolved",
  ETIMEOUT: "upstream_unresolved",

  ETIMEDOUT: "upstream_unreachable",
  EHOSTUNREACH: "upstream_unreachable",
  EHOSTDOWN: "upstream_unreachable",
  ENETUNREACH: "upstream_unreachable",
  ENETDOWN: "upstream_unreachable",
  EADDRNOTAVAIL: "upstream_unreachable",
  EACCES: "upstream_unreachable",
  EPERM: "upstream_unreachable",
  FailedToOpenSocket: "upstream_unreachable",

  ECONNRESET: "upstream_reset",
  ECONNABORTED: "upstream_reset",
  EPIPE: "upstream_reset",
  ConnectionClosed: "upstream_reset",
};

const CONNECT_RESULTS: Partial<Record<IngressErrorCode, ConnectResult>> = {
  upstream_refused: "refused",
  upstream_unresolved: "dns_error",
  upstream_unreachable: "unreachable",
  upstream_timeout: "timeout",
  client_closed: "canceled",
};

/** The refusal that a failed dial or `fetch` becomes. */
export function toUpstreamError(thrown: unknown): IngressError {
  if (thrown instanceof IngressError) return thrown;
  const code = codeOf(thrown);
  const known = Object.hasOwn(BY_CODE, code) ? BY_CODE[code] : undefined;
  return new IngressError(known ?? "upstream_protocol", undefined, { cause: thrown });
}

/** The `connect_result` of docs/contract.md §8 for a refusal; undefined: the connection itself was made. */
export function connectResultOf(code: IngressErrorCode): ConnectResult | undefined {
  return CONNECT_RESULTS[code];
}
