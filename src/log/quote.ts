import { printable } from "./printable.ts";

/** Maximum number of characters of an outside text that a message repeats: enough to recognise it. */
const QUOTED_MAX_CHARS = 80;

/**
 * An outside value for a message: strings quoted and cut, in one line, without control characters; others by their
 * kind.
 */
export function quote(value: unknown): string {
  if (value === undefined) return "(missing)";
  if (typeof value === "string") {
    const shown = value.length > QUOTED_MAX_CHARS ? `${value.slice(0, QUOTED_MAX_CHARS)}…` : value;
    return printable(JSON.stringify(shown));
  }
  if (typeof value === "number" || typeof value === "boolean" || value === null) return String(value);
  return Array.isArray(value) ? "(an array)" : "(an object)";
}
