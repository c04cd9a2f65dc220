/** The error types of Proxy-Status (RFC 9209 §2.3) that the ingress uses. */
type ProxyErrorType =
  | "connection_limit_reached"
  | "connection_refused"
  | "connection_terminated"
  | "destination_ip_unroutable"
  | "destination_not_found"
  | "destination_unavailable"
  | "dns_error"
  | "http_protocol_error"
  | "http_request_denied"
  | "http_request_error"
  | "http_response_timeout"
  | "proxy_configuration_error"
  | "proxy_internal_error"
  | "proxy_internal_response"
  | "proxy_loop_detected";

/** One row of the answer table: the answer for a refusal. Its texts never contain secrets, addresses or causes. */
export interface AnswerSpec {
  readonly status: number;
  /** Used if the thrower gives no message. */
  readonly message: string;
  /** Default: `message` with a capital. May contain the placeholders of `cause`. */
  readonly title?: string;
  /**
   * One or two sentences about what happened, for the reader of the refusal and for docs/errors.md. `{port}` stands for
   * "port 3000", `{number}` for "3000"; backticks enclose code.
   */
  readonly cause: string;
  /** What to do about it, with the same placeholders. */
  readonly remedy: string;
  readonly proxyError: ProxyErrorType;
  /** The code that the client sees, if it must not learn the real one. Missing: the real code. */
  readonly publicCode?: string;
  /** Seconds for `Retry-After`. Missing: no such header. */
  readonly retryAfterSeconds?: number;
  /** `true`: the client always gets `message`, never the thrower's text, so that all such answers are equal. */
  readonly uniform?: true;
  /**
   * `true`: a browser's page reloads itself, unless the request counted as use of the sandbox. A forgotten tab would
   * otherwise keep the sandbox alive (OSEP-0009).
   */
  readonly reloads?: true;
}

/** A client without a valid credential learns nothing else, not even which check failed (docs/contract.md §3). */
const DENIED = {
  status: 401,
  message: "access denied",
  cause: "The sandbox is protected, and the request shows no valid credential for it. A link may have expired.",
  remedy:
    "Ask for a new link, or send the token of the sandbox in the header `OpenSandbox-Secure-Access`. " +
    "Operators: the access log tells which check failed.",
  proxyError: "http_request_denied",
  publicCode: "access_denied",
  uniform: true,
} as const;

/** A guessing client does not learn whether others guess, too. */
const THROTTLED = {
  status: 429,
  message: "too many failed access checks",
  cause: "Too many requests with a wrong signature came in a short time.",
  remedy: "Wait a few seconds, and use the link exactly as it was given.",
  proxyError: "http_request_denied",
  publicCode: "access_throttled",
  retryAfterSeconds: 10,
  uniform: true,
} as const;

/**
 * Code → answer, for all refusals. This is the one place that maps errors to statuses (docs/contract.md §5; RFC 9110
 * §15). It is long because every refusal has its row; a reader looks up one at a time.
 */
const ANSWERS = {
  // 400: the request names no sandbox, or cannot be forwarded as it is.
  route_missing: {
    status: 400,
    message: "no route in request",
    cause: "The request does not say which sandbox it is for.",
    remedy:
      "Name the sandbox and the port as the `--mode` of this ingress requires: in the header `OpenSandbox-Ingress-To`, in the host name, or in the path.",
    proxyError: "http_request_error",
  },
  route_invalid: {
    status: 400,
    message: "invalid route",
    cause: "The part of the request that names the sandbox and the port is malformed.",
    remedy: "Check the address. The port is a number from 1 to 65535, and a signed link must be complete.",
    proxyError: "http_request_error",
  },
  host_invalid: {
    status: 400,
    message: "invalid Host header",
    cause: "The `Host` header of the request is not a host name with an optional port.",
    remedy: "Correct the `Host` header, or the proxy that writes it.",
    proxyError: "http_request_error",
  },
  request_invalid: {
    status: 400,
    message: "invalid request",
    cause: "The request does not follow HTTP, or has too many connection options.",
    remedy: "Check the program or the proxy that sends the request.",
    proxyError: "http_request_error",
  },
  body_not_allowed: {
    status: 400,
    message: "a body is not allowed with this method",
    cause: "A GET or HEAD request came with a body.",
    remedy: "Send the data in the query, or use POST.",
    proxyError: "http_request_error",
  },
  upgrade_invalid: {
    status: 400,
    message: "invalid WebSocket handshake",
    cause: "The WebSocket handshake is incomplete or invalid.",
    remedy:
      "Use a WebSocket client that follows RFC 6455. A proxy in between must forward the headers `Sec-WebSocket-…`.",
    proxyError: "http_request_error",
  },

  // 408: the client stopped within its body (RFC 9110 §15.5.9).
  client_timeout: {
    status: 408,
    message: "request body stopped",
    cause: "The body of the request did not arrive in time.",
    remedy: "Send the request again. If uploads are slow, raise `--client-idle-timeout`.",
    proxyError: "http_request_error",
  },

  method_not_allowed: {
    status: 405,
    message: "method not allowed",
    cause: "The ingress does not forward CONNECT and TRACE.",
    remedy: "Use another method.",
    proxyError: "http_request_error",
  },
  body_too_large: {
    status: 413,
    message: "request body too large",
    cause: "The body of the request is larger than the ingress allows, at all or for this sandbox.",
    remedy: "Send a smaller body. Operators: raise `--max-body-size`, or the annotation of the sandbox.",
    proxyError: "http_request_error",
  },
  websocket_version: {
    status: 426,
    message: "unsupported WebSocket version",
    cause: "The client does not ask for version 13 of WebSocket.",
    remedy: "Use a WebSocket client that follows RFC 6455.",
    proxyError: "http_request_error",
  },

  signature_required: DENIED,
  token_mismatch: DENIED,
  access_revoked: DENIED,
  access_expired: DENIED,
  signature_invalid: DENIED,
  access_throttled: THROTTLED,
  access_throttled_sandbox: THROTTLED,

  // 403: the sandbox's annotations do not allow the request, whoever sends it. For a method that is not 405, which would
  // have to name the methods that the program in the sandbox supports (RFC 9110 §15.5.6).
  port_not_allowed: {
    status: 403,
    message: "port not allowed",
    cause: "The sandbox may not be reached on {port}.",
    remedy:
      "Use another port. Operators: the annotation `ingress.opensandbox.io/allowed-ports` of the sandbox decides.",
    proxyError: "http_request_denied",
  },
  sandbox_method_not_allowed: {
    status: 403,
    message: "method not allowed for this sandbox",
    cause: "The sandbox may not be asked with this method.",
    remedy:
      "Use another method. Operators: the annotation `ingress.opensandbox.io/allowed-methods` of the sandbox decides.",
    proxyError: "http_request_denied",
  },
  origin_not_allowed: {
    status: 403,
    message: "origin not allowed",
    cause: "The page that sent the request is of an origin that may not use the sandbox.",
    remedy:
      "Open the application by its usual address. Operators: the annotation `ingress.opensandbox.io/allowed-origins` of the sandbox decides.",
    proxyError: "http_request_denied",
  },
  client_not_allowed: {
    status: 403,
    message: "client address not allowed",
    cause: "The sandbox may not be used from the network address of this client.",
    remedy:
      "Use another network. Operators: the annotation `ingress.opensandbox.io/client-cidrs` of the sandbox decides. `--trusted-proxies` names the peers that may tell the client's address.",
    proxyError: "http_request_denied",
  },
  rate_exceeded: {
    status: 429,
    message: "too many requests to this sandbox",
    retryAfterSeconds: 1,
    cause: "The sandbox got more requests in a short time than it may, from all clients together.",
    remedy:
      "Wait as long as `Retry-After` says. Operators: raise the annotation `ingress.opensandbox.io/rate` of the sandbox, or `--max-rate-per-sandbox`.",
    proxyError: "http_request_denied",
  },

  sandbox_not_found: {
    status: 404,
    message: "sandbox not found",
    cause: "No sandbox has this name. It may have ended.",
    remedy:
      "Check the address. If the sandbox has ended, start a new one. Operators: check that the ingress watches the namespace of the sandbox.",
    proxyError: "destination_not_found",
  },

  // 508: an endpoint leads back to the ingress, and a retry would, too (RFC 5842 §7.2, RFC 8586).
  loop_detected: {
    status: 508,
    message: "request loop detected",
    cause:
      "The request came back to the ingress several times: the address of the sandbox leads to the ingress itself.",
    remedy: "Correct the address that the sandbox reports.",
    proxyError: "proxy_loop_detected",
  },

  // 503: the same request can succeed later.
  sandbox_not_ready: {
    status: 503,
    message: "sandbox not ready",
    retryAfterSeconds: 1,
    cause: "The sandbox exists, but it is still starting, is paused, or has no address yet.",
    remedy: "Wait a moment. If this lasts, check the status of the sandbox.",
    proxyError: "destination_unavailable",
    reloads: true,
  },
  hold_full: {
    status: 503,
    message: "too many requests wait for sandboxes",
    retryAfterSeconds: 1,
    cause: "The sandbox is not ready, and as many requests wait already as the ingress allows for it or in all.",
    remedy: "Try again in a moment. Operators: raise `--hold-max` or `--wake-park-max`.",
    proxyError: "connection_limit_reached",
    reloads: true,
  },
  wake_failed: {
    status: 503,
    message: "sandbox could not be woken",
    retryAfterSeconds: 1,
    cause: "The sandbox is paused, and the last attempt to wake it failed. The next one follows within a minute.",
    remedy: "Wait a moment. If this lasts, check the status of the sandbox. Operators: the log has the reason.",
    proxyError: "destination_unavailable",
    reloads: true,
  },
  wake_busy: {
    status: 503,
    message: "too many sandboxes are being woken",
    retryAfterSeconds: 1,
    cause: "The sandbox is paused, and the ingress wakes as many others at the moment as it allows.",
    remedy: "Try again in a moment. Operators: raise `--wake-park-max`, or check that the API server answers.",
    proxyError: "connection_limit_reached",
    reloads: true,
  },
  not_synced: {
    status: 503,
    message: "sandbox list not yet synced",
    retryAfterSeconds: 1,
    cause: "The ingress has just started and does not know the sandboxes yet.",
    remedy: "Wait a moment. If this lasts, operators find the reason at `/readyz?verbose` on the admin port.",
    proxyError: "proxy_internal_response",
    reloads: true,
  },
  verifier_not_configured: {
    status: 503,
    message: "access verifier not configured",
    cause: "The link is signed, but the ingress has no keys to check it.",
    remedy: "Operators: set `--secure-access-keys-file` or `--secure-access-keys`.",
    proxyError: "proxy_configuration_error",
  },
  upstream_refused: {
    status: 503,
    message: "sandbox refused the connection",
    retryAfterSeconds: 1,
    title: "Nothing listens on {port}",
    cause: "The sandbox runs, but no program in it accepts connections on {port}.",
    remedy:
      "Start the program in the sandbox, and let it listen on `0.0.0.0` instead of `localhost`: for example `python3 -m http.server {number} --bind 0.0.0.0`. Then load this address again.",
    proxyError: "connection_refused",
  },
  upstream_unresolved: {
    status: 503,
    message: "sandbox name not yet resolvable",
    retryAfterSeconds: 1,
    cause: "The name of the sandbox is not known to DNS yet.",
    remedy: "Wait a moment. If this lasts, check the Service of the sandbox and the cluster's DNS.",
    proxyError: "dns_error",
  },
  too_many_requests: {
    status: 503,
    message: "too many requests in flight",
    retryAfterSeconds: 1,
    cause: "The ingress has as many open requests as it allows.",
    remedy: "Try again in a moment. Operators: add replicas, or raise `--max-requests`.",
    proxyError: "connection_limit_reached",
  },
  too_many_requests_sandbox: {
    status: 503,
    message: "too many requests in flight to this sandbox",
    retryAfterSeconds: 1,
    cause: "This sandbox has as many open requests as the ingress allows for one sandbox.",
    remedy:
      "Close unused tabs and connections, and try again. Operators: raise `--max-requests-per-sandbox`, or the annotation of the sandbox.",
    proxyError: "connection_limit_reached",
  },
  too_many_requests_client: {
    status: 503,
    message: "too many requests in flight from this client",
    retryAfterSeconds: 1,
    cause: "This client has as many open requests as the ingress allows for one client while it is busy.",
    remedy: "Close unused tabs and connections, and try again.",
    proxyError: "connection_limit_reached",
  },
  memory_short: {
    status: 503,
    message: "memory is low",
    retryAfterSeconds: 1,
    cause: "The ingress has little memory left and takes no new requests.",
    remedy: "Try again in a moment. Operators: raise the memory limit, or add replicas.",
    proxyError: "proxy_internal_response",
  },
  memory_exceeded: {
    status: 503,
    message: "too much data is waiting for slow readers",
    retryAfterSeconds: 1,
    cause: "Too much data waits in the ingress for slow readers.",
    remedy:
      "Read answers and messages faster, and try again. Operators: raise `--memory-budget` with the memory limit.",
    proxyError: "proxy_internal_response",
  },
  websocket_flood: {
    status: 429,
    message: "too many WebSocket pings or pongs",
    cause:
      "One end of a WebSocket sent too many pings or pongs. It gets close code 1008, and the other end 1001. No client gets the status.",
    remedy: "Send fewer pings and pongs.",
    proxyError: "http_request_error",
  },
  draining: {
    status: 503,
    message: "ingress is shutting down",
    retryAfterSeconds: 1,
    cause: "This replica of the ingress is about to stop.",
    remedy: "Try again: another replica answers.",
    proxyError: "proxy_internal_response",
  },

  // 502: the fault is not the client's. Whether to retry is the client's decision.
  sandbox_ambiguous: {
    status: 502,
    message: "sandbox name is ambiguous",
    cause: "More than one sandbox has this name.",
    remedy: "Operators: give the sandboxes different names, or let each ingress watch its own namespace.",
    proxyError: "destination_not_found",
  },
  sandbox_replaced: {
    status: 502,
    message: "sandbox was replaced during the request",
    cause: "Another sandbox with the same name replaced this one during the request.",
    remedy: "Send the request again if it may be repeated.",
    proxyError: "connection_terminated",
  },
  kubernetes_unavailable: {
    status: 502,
    message: "cannot look up sandboxes",
    cause: "The ingress has just started and cannot read the list of sandboxes.",
    remedy: "Operators: the log and `/readyz?verbose` on the admin port say why.",
    proxyError: "proxy_internal_error",
  },
  upstream_unreachable: {
    status: 502,
    message: "cannot reach sandbox",
    cause: "The ingress cannot connect to the sandbox.",
    remedy: "Try again. If this lasts, check the node and the network policies of the sandbox.",
    proxyError: "destination_ip_unroutable",
  },
  upstream_reset: {
    status: 502,
    message: "sandbox closed the connection",
    cause: "The program in the sandbox closed the connection before its answer was complete.",
    remedy: "Check the log of the program in the sandbox: it may have crashed.",
    proxyError: "connection_terminated",
  },
  upstream_protocol: {
    status: 502,
    message: "sandbox sent an invalid answer",
    cause: "The program on {port} in the sandbox does not speak HTTP/1.1, or sent an invalid answer.",
    remedy: "Check that a web server listens on this port, with plain HTTP and not TLS.",
    proxyError: "http_protocol_error",
  },
  internal: {
    status: 502,
    message: "internal error",
    cause: "The ingress made a mistake.",
    remedy: "Try again. Operators: find the cause in the log by the id of the request, and please report it.",
    proxyError: "proxy_internal_error",
  },

  upstream_timeout: {
    status: 504,
    message: "sandbox did not answer in time",
    cause: "The program in the sandbox took too long to answer.",
    remedy:
      "Check the program in the sandbox. Operators: raise `--response-timeout` or `--stream-idle-timeout`, or the annotations of the sandbox, if such answers are normal.",
    proxyError: "http_response_timeout",
  },

  // The client has left, so nobody reads this answer. The status is nginx's; only log and metrics use it.
  client_closed: {
    status: 499,
    message: "client closed the request",
    cause: "The client left before the answer was complete.",
    remedy: "Nothing. Only the log and the metrics show this code.",
    proxyError: "http_request_error",
  },
} as const satisfies Record<string, AnswerSpec>;

/** The name of a refusal in the log, in metrics and in tests. */
export type IngressErrorCode = keyof typeof ANSWERS;

/** A refusal. It is thrown if a request cannot continue, and turned into an answer in one place. */
export class IngressError extends Error {
  override readonly name = "IngressError";
  readonly code: IngressErrorCode;
  /** Seconds for `Retry-After`; undefined: no such header. */
  readonly retryAfterSeconds: number | undefined;

  /**
   * @param message What the client may read. Default: the code's own text. Ignored for codes whose answers are all
   * equal.
   * @param options `cause`: only for the log, never shown to a client. `retryAfterSeconds`: default is the code's own.
   */
  constructor(
    code: IngressErrorCode,
    message?: string,
    options?: { readonly cause?: unknown; readonly retryAfterSeconds?: number },
  ) {
    const answer: AnswerSpec = ANSWERS[code];
    super(answer.uniform === true ? answer.message : (message ?? answer.message), options);
    this.code = code;
    this.retryAfterSeconds = options?.retryAfterSeconds ?? answer.retryAfterSeconds;
  }

  /** The HTTP status of the answer. */
  get status(): number {
    return ANSWERS[this.code].status;
  }
}

/** All codes, in the order of the table. */
export function listErrorCodes(): readonly IngressErrorCode[] {
  return Object.keys(ANSWERS).filter(isErrorCode);
}

function isErrorCode(text: string): text is IngressErrorCode {
  return Object.hasOwn(ANSWERS, text);
}

/** The row of a code. */
export function answerSpecOf(code: IngressErrorCode): AnswerSpec {
  return ANSWERS[code];
}

/** Gives an IngressError as it is. Any other thrown value becomes `internal`, with the value as cause. */
export function toIngressError(thrown: unknown): IngressError {
  return thrown instanceof IngressError ? thrown : toInternalError(thrown);
}

/** Turns any thrown value into the error `internal`, with the value as cause, even if it is an IngressError. */
export function toInternalError(thrown: unknown): IngressError {
  return new IngressError("internal", undefined, { cause: thrown });
}
