import type { IngressError } from "../errors.ts";

/** A word that only a programmer chooses: `ECONNRESET`, `Malformed_HTTP_Response`, `TypeError`. */
const WORD = /^[A-Za-z][A-Za-z0-9_]{0,63}$/;

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

/** A place in our own program, as a stack has it: `at name (file:line:column)`, without a query or a host. */
const FRAME = /^\s*at (?:async )?[\w$.<>[\] #]{0,100}\(?[\w@$./-]{1,200}:\d+:\d+\)?$/;
/** Enough to find a bug by; a line of the log stays one. */
const FRAMES_MAX = 4;

/**
 * The cause of a refusal in one line, for the log. Bun puts the whole URL into most of its messages, and a sandbox can provoke these
 * at will: so of an error only its code or name is told, and the text where it is a known one. Of a bug (`internal`) the places
 * in the program come along. A cause that is a text is our own, and told as it is.
 */
export function describeCause(error: IngressError | undefined): string | undefined {
  const cause = error?.cause;
  if (cause === undefined) return undefined;
  if (typeof cause === "string") return cause;
  if (!(cause instanceof Error)) return typeof cause;
  const parts = [nameOf(cause), knownTextOf(cause.message)];
  if (error?.code === "internal") parts.push(...framesOf(cause));
  return parts.filter((part) => part !== "").join(" ");
}

function nameOf(cause: Error): string {
  if ("code" in cause && typeof cause.code === "string" && WORD.test(cause.code)) return cause.code;
  return WORD.test(cause.name) ? cause.name : "Error";
}

function knownTextOf(message: string): string {
  const text = message.split("' failed: ").at(-1) ?? "";
  return KNOWN_TEXTS.has(text) ? text : "";
}

function framesOf(cause: Error): readonly string[] {
  const { message, stack = "" } = cause;
  // The message stands in front of the places, and may hold lines that look like them.
  const places = message === "" ? stack : stack.slice(stack.indexOf(message) + message.length);
  const lines = places.split("\n").filter((line) => FRAME.test(line));
  return lines.slice(0, FRAMES_MAX).map((line) => line.trim());
}
