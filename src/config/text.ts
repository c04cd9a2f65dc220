/** How much of a text from outside a message repeats, in characters. */
const QUOTE_MAX_CHARS = 80;

/** A text from outside as a message may repeat it: in quotes, in one line, without control characters, cut. */
export function quote(text: string): string {
  return printable(JSON.stringify(text.length > QUOTE_MAX_CHARS ? `${text.slice(0, QUOTE_MAX_CHARS)}…` : text));
}

/** A text without what a terminal would act on: control characters, line separators, bidirectional marks. */
export function printable(text: string): string {
  return text.replace(
    // oxlint-disable-next-line no-control-regex -- control characters are what this is about
    /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** The message of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
