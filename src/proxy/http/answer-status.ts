import { IngressError } from "../../errors.ts";

/**
 * Throws `upstream_protocol` for a status that cannot be passed on. RFC 9110 §15 knows 100 to 599. An interim answer
 * (1xx) or an upgrade that nobody asked for does not end a request.
 */
export function checkAnswerStatus(status: number): void {
  if (Number.isInteger(status) && status >= 200 && status <= 599) return;
  throw new IngressError("upstream_protocol", undefined, { cause: `invalid status ${status}` });
}
