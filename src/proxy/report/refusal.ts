import { buildErrorAnswer, type IngressError } from "../../errors.ts";
import { REQUEST_ID_HEADER } from "../request/request-id.ts";

/**
 * The answer to a request that could not be served, whose end has been reported already. The one place where a failure
 * becomes an answer.
 * @param options `closeConnection`: whether the answer is to say that it is the connection's last (RFC 9112 §9.6).
 */
export function buildRefusal(
  request: Request,
  error: IngressError,
  options: { readonly closeConnection: boolean; readonly requestId: string },
): Response {
  const answer = buildErrorAnswer(error);
  answer.headers.set(REQUEST_ID_HEADER, options.requestId);
  // What is left of a body would have to be read for nothing before the connection can be used again.
  const hasBody = request.body !== null && !request.bodyUsed;
  if (options.closeConnection || hasBody) answer.headers.set("Connection", "close");
  return answer;
}
