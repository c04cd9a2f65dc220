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
