import { printable } from "../log/printable.ts";

/** How much of a text from outside a message repeats, in characters. */
const QUOTE_MAX_CHARS = 80;

/** A text from outside as a message may repeat it: in quotes, in one line, without control characters, cut. */
export function quote(text: string): string {
  return printable(JSON.stringify(text.length > QUOTE_MAX_CHARS ? `${text.slice(0, QUOTE_MAX_CHARS)}…` : text));
}

/** The message of anything that was thrown, in one line. */
export function messageOf(thrown: unknown): string {
  return printable(thrown instanceof Error ? thrown.message : String(thrown));
}

/** Whether a text is an RFC 1123 label (§2.1) as Kubernetes demands of a namespace's name. */
export function isDnsLabel(text: string): boolean {
  return /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/.test(text);
}
