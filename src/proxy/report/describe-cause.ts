import type { IngressError } from "../../errors.ts";
import { listPlaces, nameFault } from "../../process/fault.ts";

/**
 * What Bun's WebSocket client says where it gives no code. Nothing else of a message is repeated: these are the only ones that
 * are known to hold nothing of the request.
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

/** Enough to find a bug by; a line of the log stays one. */
const PLACES_MAX = 4;

/**
 * The cause of a refusal in one line, for the log. Bun puts the whole URL into most of its messages, and a sandbox can provoke these
 * at will: so of an error only its code or name is told, and the text where it is a known one. Of a bug (`internal`) the places
 * in the program come along. A cause that is a text is our own, and told as it is.
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
