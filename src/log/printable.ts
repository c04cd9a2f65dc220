/**
 * Control characters, line separators and bidirectional marks, which change what a terminal or a line-based reader
 * shows.
 */
// oxlint-disable-next-line no-control-regex -- control characters are what this is about
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** The text in one line that is harmless to a terminal: unprintable characters become `\uXXXX`. */
export function printable(text: string): string {
  // Nearly all texts are printable, and testing is cheaper than replacing.
  return text.search(UNPRINTABLE) < 0 ? text : text.replace(UNPRINTABLE, escapeChar);
}

function escapeChar(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
