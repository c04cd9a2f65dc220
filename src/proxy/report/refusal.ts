import { answerSpecOf, type IngressError } from "../../errors.ts";
import type { Route } from "../../route/route.ts";
import { addCors, type CorsGrant } from "../browser/cors.ts";
import { PROJECT_URL } from "../../version.ts";
import { announcesBody } from "../request/framing.ts";
import { REQUEST_ID_HEADER } from "../request/request-id.ts";
import { chooseForm, FORM_HEADERS, type RefusalForm } from "./refusal-form.ts";
import { PAGE_POLICY, renderRefusalPage } from "./refusal-page.ts";
import { publicCodeOf, titleOf } from "./refusal-text.ts";

/** Our name in `Proxy-Status` (RFC 9209 §2). */
const PROXY_NAME = "opensandbox-ingress";

const CONTENT_TYPES: Readonly<Record<RefusalForm, string>> = {
  text: "text/plain; charset=utf-8",
  problem: "application/problem+json",
  page: "text/html; charset=utf-8",
};

/** What every answer of the ingress itself needs to know about its request. */
export interface OwnAnswerOptions {
  /** Whether the answer says that it is the connection's last (RFC 9112 §9.6). */
  readonly closeConnection: boolean;
  readonly requestId: string;
}

/** What a refusal needs to know about its request. */
export interface RefusalOptions extends OwnAnswerOptions {
  /** Undefined: the request has no route. */
  readonly route: Route | undefined;
  /** Whether the request counted as use of the sandbox (OSEP-0009). If so, the page does not reload itself. */
  readonly countsAsUse: boolean;
  /** Which origin may read it; undefined: the answer says nothing about CORS. */
  readonly cors?: CorsGrant | undefined;
}

/**
 * Builds the answer to a request that could not be served and whose end has been reported. It is the one place where a
 * failure becomes an answer, in the form that the client asks for.
 */
export function buildRefusal(request: Request, error: IngressError, options: RefusalOptions): Response {
  const form = chooseForm(request);
  const { status } = error;
  const answer = new Response(renderBody(error, { form, options }), { status, headers: buildHeaders(error, form) });
  if (options.cors !== undefined) addCors(answer.headers, options.cors);
  return completeOwnAnswer(answer, request, options);
}

/** Adds what every answer of the ingress itself has, in place. */
export function completeOwnAnswer(answer: Response, request: Request, options: OwnAnswerOptions): Response {
  answer.headers.set(REQUEST_ID_HEADER, options.requestId);
  // Otherwise the rest of a body would have to be read before the connection can be used again.
  const hasBody = request.body === null ? announcesBody(request.headers) : !request.bodyUsed;
  if (options.closeConnection || hasBody) answer.headers.set("Connection", "close");
  return answer;
}

function buildHeaders(error: IngressError, form: RefusalForm): Headers {
  const { retryAfterSeconds } = error;
  const { proxyError } = answerSpecOf(error.code);
  const headers = new Headers({
    "Content-Type": CONTENT_TYPES[form],
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    Vary: FORM_HEADERS,
    "Proxy-Status": `${PROXY_NAME}; error=${proxyError}; details="${publicCodeOf(error.code)}"`,
  });
  if (form === "page") {
    headers.set("Content-Security-Policy", PAGE_POLICY);
    // The address of the page can be a signed link.
    headers.set("Referrer-Policy", "no-referrer");
  }
  if (retryAfterSeconds !== undefined) headers.set("Retry-After", String(retryAfterSeconds));
  // RFC 6455 §4.4: the answer to a wrong version names the supported one.
  if (error.code === "websocket_version") headers.set("Sec-WebSocket-Version", "13");
  if (error.code === "method_not_allowed") {
    headers.set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"); // RFC 9110 §15.5.6
  }
  return headers;
}

function renderBody(
  error: IngressError,
  shape: { readonly form: RefusalForm; readonly options: RefusalOptions },
): string {
  const { form, options } = shape;
  if (form === "page") return renderRefusalPage(error, options);
  if (form === "problem") return renderProblem(error, options);
  return `OpenSandbox Ingress: ${error.message}\n`;
}

/** RFC 9457 §3. Undefined fields are left out. */
function renderProblem(error: IngressError, { route, requestId }: RefusalOptions): string {
  const code = publicCodeOf(error.code);
  const problem = {
    // An identifier, not the address of a document (RFC 9457 §3.1.1).
    type: `${PROJECT_URL}#${code}`,
    title: titleOf(error.code, undefined),
    status: error.status,
    detail: error.message,
    code,
    sandboxId: route?.sandboxId,
    port: route?.port,
    requestId,
    retryAfter: error.retryAfterSeconds,
  };
  return `${JSON.stringify(problem)}\n`;
}
