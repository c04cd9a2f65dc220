import type { GateVerdict } from "./gate.ts";

const TEXT_TYPE = "text/plain; charset=utf-8";

/** The policy for answers that are not pages, if a browser shows one: it loads nothing, and no page may frame it. */
const NO_PAGE_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox";

/**
 * The policy of the dashboard: it loads only its own files and asks only its own port. The page has no inline script or
 * style, and no text becomes HTML (CSP Level 3, Trusted Types).
 */
const DASHBOARD_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

/** The challenges for a browser (RFC 7617 §2, RFC 6750 §3). It shows a dialogue for the first one. */
const CHALLENGE = 'Basic realm="OpenSandbox Ingress", charset="UTF-8", Bearer realm="OpenSandbox Ingress"';

/**
 * The headers of every answer to an operator: no cache keeps it, no page frames it, and no other web page reads it.
 * There is no CORS header, on purpose.
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

/** Builds an answer in plain text, for probes. */
export function buildText(text: string, status: number, type = TEXT_TYPE): Response {
  const headers = { "Content-Type": type, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store" };
  return new Response(text, { status, headers });
}

/** Builds an answer in plain text for an operator. */
export function buildOperatorText(text: string, status = 200): Response {
  return new Response(text, { status, headers: { ...OPERATOR_HEADERS, "Content-Type": TEXT_TYPE } });
}

/** A file of the dashboard. */
export function buildDashboardFile(text: string, type: string): Response {
  const headers = { ...OPERATOR_HEADERS, "Content-Security-Policy": DASHBOARD_POLICY, "Content-Type": type };
  return new Response(text, { headers });
}

/** Builds an answer in JSON for an operator. Undefined fields are left out. */
export function buildJson(value: unknown, status = 200): Response {
  const headers = { ...OPERATOR_HEADERS, "Content-Type": "application/json" };
  return new Response(`${JSON.stringify(value)}\n`, { status, headers });
}

/** Builds the answer to a request that may not see a page for operators. */
export function buildGateRefusal(verdict: GateVerdict & { readonly kind: "refused" }): Response {
  const answer = buildOperatorText(`${verdict.text}\n`, verdict.status);
  if (verdict.status === 401) answer.headers.set("WWW-Authenticate", CHALLENGE);
  if (verdict.retryAfterSeconds !== undefined) answer.headers.set("Retry-After", String(verdict.retryAfterSeconds));
  return answer;
}
