/** A part of a YAML text. */
export interface TextPart {
  readonly start: number;
  readonly end: number;
}

/** Directives and comments before a document are searched up to this length. */
const HEAD_MAX_CHARS = 64 * 1024;

/**
 * Splits a YAML text before each line `---` and after each line `...` (YAML 1.2.2 §9.1.2). No scalar can contain such a
 * line (production c-forbidden), so each part can be read by itself. Directives and comments stay with the document
 * that follows them. The parts together are the whole text.
 */
export function* splitDocuments(text: string): Generator<TextPart, void, undefined> {
  let start = 0;
  for (const line of findMarkers(text)) {
    const isEnd = text.startsWith("...", line);
    const newline = text.indexOf("\n", line);
    const at = !isEnd ? line : newline < 0 ? text.length : newline + 1;
    if (at <= start || (!isEnd && isHead(text, start, at))) continue;
    yield { start, end: at };
    start = at;
  }
  if (start < text.length) yield { start, end: text.length };
}

/** Where the lines begin that are `---` or `...`, alone or followed by white space. */
function* findMarkers(text: string): Generator<number, void, undefined> {
  if (isMarker(text, 0)) yield 0;
  let starts = text.indexOf("\n---");
  let ends = text.indexOf("\n...");
  while (starts >= 0 || ends >= 0) {
    const isStart = ends < 0 || (starts >= 0 && starts < ends);
    const at = isStart ? starts : ends;
    if (isMarker(text, at + 1)) yield at + 1;
    if (isStart) starts = text.indexOf("\n---", at + 1);
    else ends = text.indexOf("\n...", at + 1);
  }
}

function isMarker(text: string, at: number): boolean {
  if (!text.startsWith("---", at) && !text.startsWith("...", at)) return false;
  const next = text.charAt(at + 3);
  return next === "" || next === " " || next === "\t" || next === "\n" || next === "\r";
}

/** Whether a part contains only directives, comments and blank lines. */
function isHead(text: string, start: number, end: number): boolean {
  if (end - start > HEAD_MAX_CHARS) return false;
  const lines = text.slice(start, end).split("\n");
  return lines.every((line) => line.startsWith("%") || /^\s*(?:#|$)/.test(line));
}
