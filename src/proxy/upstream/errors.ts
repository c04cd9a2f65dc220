import { IngressError, type IngressErrorCode } from "../../errors.ts";
import type { ConnectResult } from "../../metrics/metrics.ts";

/**
 * What a failed dial or `fetch` means, by the `code` that Bun gives its errors. Where a code is missing the failure
 * happened while an answer was read, and counts as an invalid one.
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
  const code = thrown instanceof Error && "code" in thrown ? thrown.code : undefined;
  const known = typeof code === "string" && Object.hasOwn(BY_CODE, code) ? BY_CODE[code] : undefined;
  return new IngressError(known ?? "upstream_protocol", undefined, { cause: thrown });
}

/** The `connect_result` of docs/contract.md §8 for a refusal, or undefined where the connection as such was made. */
export function connectResultOf(code: IngressErrorCode): ConnectResult | undefined {
  return CONNECT_RESULTS[code];
}
