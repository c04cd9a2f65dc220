/**
 * A Markdown table in aligned columns, as `bun fmt` leaves it. The first row is the header. No cell may contain `|`.
 */
export function formatMarkdownTable(rows: readonly (readonly string[])[]): string {
  const [header = []] = rows;
  const widths = header.map((_, column) => Math.max(3, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    `| ${widths.map((width, column) => (row[column] ?? "").padEnd(width)).join(" | ")} |`;
  const rule = widths.map((width) => "-".repeat(width));
  return [header, rule, ...rows.slice(1)].map((row) => line(row)).join("\n");
}

/** Longest line of prose, in characters, as in the other documents. */
const LINE_MAX_CHARS = 120;

/** Breaks a paragraph into lines. */
export function wrapText(text: string): string {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const line = lines.at(-1);
    if (line !== undefined && line.length + 1 + word.length <= LINE_MAX_CHARS) {
      lines[lines.length - 1] = `${line} ${word}`;
    } else lines.push(word);
  }
  return lines.join("\n");
}
