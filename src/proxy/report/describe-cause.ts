import type { IngressError } from "../../errors.ts";
import { listPlaces, nameFault } from "../../process/fault.ts";

/**
 * Messages of Bun's WebSocket client for errors without a code. They are known to contain nothing of the request. No
 * other message is logged.
 */
const KNOWN_TEXTS: ReadonlySet<string> = new Set([
  "Invalid Upgrade header",
  "Invalid Sec-WebSocket-Accept header",
  "Response headers too large",
  "Server sent a subprotocol but none was requested",
  "Server sent an invalid subprotocol",
  "Server sent no subprotocol",
  "Server sent a Sec-WebSocket-Extensions header but no extension was requested",
]);

/** Places in the program that are logged for a bug. A log line stays readable with this many. */
const PLACES_MAX = 4;

/**
 * The cause of a refusal in one line, for the log. Bun puts the whole URL into most of its messages, and a sandbox can
 * provoke such errors at will. So only the code or name of an error is logged, and its text if it is a known one. For a
 * bug (`internal`) the places in the program are added. A cause that is a string is the ingress's own and is logged as
 * it is.
 */
export function describeCause(error: IngressError | undefined): string | undefined {
  const cause = error?.cause;
  if (cause === undefined) return undefined;
  if (typeof cause === "string") return cause;
  const text = cause instanceof Error ? (cause.message.split("' failed: ").at(-1) ?? "") : "";
  const parts = [nameFault(cause), ...(KNOWN_TEXTS.has(text) ? [text] : [])];
  if (error?.code === "internal") parts.push(...listPlaces(cause, PLACES_MAX));
  return parts.join(" ");
}
