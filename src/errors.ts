/**
 * One row of the answer table: what a client is told for a refusal.
 * `message` is used when the thrower gives none; texts never carry secrets, addresses or causes.
 */
interface AnswerSpec {
  readonly status: number;
  readonly message: string;
  /** Seconds for `Retry-After`; absent: no such header. */
  readonly retryAfterSeconds?: number;
  /** `true`: the client always reads `message`, whatever the thrower says, so that all such answers are equal. */
  readonly uniform?: true;
}

/**
 * Code → answer, for every refusal there is. The one place that maps errors to statuses
 * (docs/contract.md §5; RFC 9110 §15).
 */
const ANSWERS = {
  // 400: the request names no sandbox, or cannot be forwarded as it was sent.
  route_missing: { status: 400, message: "no route in request" },
  route_invalid: { status: 400, message: "invalid route" },
  host_invalid: { status: 400, message: "invalid Host header" },
  request_invalid: { status: 400, message: "invalid request" },
  body_not_allowed: { status: 400, message: "a body is not allowed with this method" },
  upgrade_invalid: { status: 400, message: "invalid WebSocket handshake" },

  // 408: the client stopped in the midst of its body (RFC 9110 §15.5.9).
  client_timeout: { status: 408, message: "the request's body stopped" },

  method_not_allowed: { status: 405, message: "method not allowed" },
  body_too_large: { status: 413, message: "request body too large" },
  websocket_version: { status: 426, message: "unsupported WebSocket version" },

  // 401: whoever shows no valid credential learns nothing else (docs/contract.md §3).
  signature_required: { status: 401, message: "access denied", uniform: true },
  token_mismatch: { status: 401, message: "access denied", uniform: true },
  access_revoked: { status: 401, message: "access denied", uniform: true },
  access_expired: { status: 401, message: "access denied", uniform: true },
  signature_invalid: { status: 401, message: "access denied", uniform: true },
  // Both read the same: who guesses does not learn whether others do.
  access_throttled: { status: 429, message: "too many failed access checks", retryAfterSeconds: 10, uniform: true },
  access_throttled_sandbox: {
    status: 429,
    message: "too many failed access checks",
    retryAfterSeconds: 10,
    uniform: true,
  },

  sandbox_not_found: { status: 404, message: "sandbox not found" },

  // 508: an endpoint leads back to the ingress. Trying again leads there, too (RFC 5842 §7.2, RFC 8586).
  loop_detected: { status: 508, message: "request loop detected" },

  // 503: the same request can succeed later.
  sandbox_not_ready: { status: 503, message: "sandbox not ready", retryAfterSeconds: 1 },
  not_synced: { status: 503, message: "sandbox list not yet synced", retryAfterSeconds: 1 },
  verifier_not_configured: { status: 503, message: "access verifier not configured" },
  upstream_refused: { status: 503, message: "sandbox refused the connection", retryAfterSeconds: 1 },
  upstream_unresolved: { status: 503, message: "sandbox name not yet resolvable", retryAfterSeconds: 1 },
  too_many_requests: { status: 503, message: "too many requests in flight", retryAfterSeconds: 1 },
  too_many_requests_sandbox: {
    status: 503,
    message: "too many requests in flight to this sandbox",
    retryAfterSeconds: 1,
  },
  too_many_requests_client: {
    status: 503,
    message: "too many requests in flight from this client",
    retryAfterSeconds: 1,
  },
  memory_short: { status: 503, message: "memory is short", retryAfterSeconds: 1 },
  memory_exceeded: { status: 503, message: "too much data is waiting for slow readers", retryAfterSeconds: 1 },
  websocket_flood: { status: 429, message: "too many WebSocket pings or pongs" },
  draining: { status: 503, message: "ingress is shutting down", retryAfterSeconds: 1 },

  // 502: somebody else's fault, and trying again is the client's decision.
  sandbox_ambiguous: { status: 502, message: "sandbox name is ambiguous" },
  sandbox_replaced: { status: 502, message: "sandbox was replaced during the request" },
  kubernetes_unavailable: { status: 502, message: "cannot look up sandboxes" },
  upstream_unreachable: { status: 502, message: "cannot reach sandbox" },
  upstream_reset: { status: 502, message: "sandbox closed the connection" },
  upstream_protocol: { status: 502, message: "sandbox sent an invalid answer" },
  internal: { status: 502, message: "internal error" },

  upstream_timeout: { status: 504, message: "sandbox did not answer in time" },

  // Nobody reads this one: the client has left. The status is nginx's, for log and metrics only.
  client_closed: { status: 499, message: "client closed the request" },
} as const satisfies Record<string, AnswerSpec>;

/** The name of a refusal: in the log, in metrics, in tests. */
export type IngressErrorCode = keyof typeof ANSWERS;

/** A refusal. Thrown where a request cannot go on; turned into an answer in one place. */
export class IngressError extends Error {
  override readonly name = "IngressError";
  readonly code: IngressErrorCode;

  /**
   * @param message What the client may read; default: the code's own text. Ignored for codes whose answers are all equal.
   * @param options `cause`: for the log only, never shown to a client.
   */
  constructor(code: IngressErrorCode, message?: string, options?: { readonly cause?: unknown }) {
    const answer: AnswerSpec = ANSWERS[code];
    super(answer.uniform === true ? answer.message : (message ?? answer.message), options);
    this.code = code;
  }

  /** The HTTP status of the answer. */
  get status(): number {
    return ANSWERS[this.code].status;
  }
}

/** Turns anything thrown into an IngressError; what is not one already is `internal` with the thrown value as cause. */
export function toIngressError(thrown: unknown): IngressError {
  return thrown instanceof IngressError ? thrown : new IngressError("internal", undefined, { cause: thrown });
}

/** The answer to a refusal, in plain form (docs/contract.md §5). */
export function buildErrorAnswer(error: IngressError): Response {
  const answer: AnswerSpec = ANSWERS[error.code];
  const headers = new Headers({
    "Content-Type": "text/plain; charset=utf-8",
    "X-Content-Type-Options": "nosniff",
  });
  if (answer.retryAfterSeconds !== undefined) headers.set("Retry-After", String(answer.retryAfterSeconds));
  // RFC 6455 §4.4: the answer to a wrong version names the versions that would do.
  if (error.code === "websocket_version") headers.set("Sec-WebSocket-Version", "13");
  if (error.code === "method_not_allowed") {
    headers.set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"); // RFC 9110 §15.5.6
  }
  return new Response(`OpenSandbox Ingress: ${error.message}\n`, { status: answer.status, headers });
}
