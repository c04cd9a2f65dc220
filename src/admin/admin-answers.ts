import type { GateVerdict } from "./gate.ts";

const TEXT_TYPE = "text/plain; charset=utf-8";

/** For a browser that shows an answer which is no page: nothing is loaded, and nobody frames it. */
const NO_PAGE_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox";

/** What a browser is asked for (RFC 7617 §2, RFC 6750 §3). The first is the one that it shows a dialogue for. */
const CHALLENGE = 'Basic realm="OpenSandbox Ingress", charset="UTF-8", Bearer realm="OpenSandbox Ingress"';

/**
 * What every answer to an operator carries: it is kept by nobody, framed by nobody, and read by no other web page. There
 * is no CORS header, on purpose.
 */
export const OPERATOR_HEADERS: Readonly<Record<string, string>> = {
  "Cache-Control": "no-store",
  "Content-Security-Policy": NO_PAGE_POLICY,
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
};

/** An answer in plain text, as probes get it. */
export function buildText(text: string, status: number, type = TEXT_TYPE): Response {
  const headers = { "Content-Type": type, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store" };
  return new Response(text, { status, headers });
}

/** An answer in plain text to an operator. */
export function buildOperatorText(text: string, status = 200): Response {
  return new Response(text, { status, headers: { ...OPERATOR_HEADERS, "Content-Type": TEXT_TYPE } });
}

/** An answer in JSON to an operator. What is undefined is left out. */
export function buildJson(value: unknown, status = 200): Response {
  const headers = { ...OPERATOR_HEADERS, "Content-Type": "application/json" };
  return new Response(`${JSON.stringify(value)}\n`, { status, headers });
}

/** The answer to a request that may not see a page for operators. */
export function buildGateRefusal(verdict: GateVerdict & { readonly kind: "refused" }): Response {
  const answer = buildOperatorText(`${verdict.text}\n`, verdict.status);
  if (verdict.status === 401) answer.headers.set("WWW-Authenticate", CHALLENGE);
  if (verdict.retryAfterSeconds !== undefined) answer.headers.set("Retry-After", String(verdict.retryAfterSeconds));
  return answer;
}
