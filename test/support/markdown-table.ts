/** The cells of the one table in a document's text, without its head; the spaces around them are cut off. */
export function readTable(text: string): readonly (readonly string[])[] {
  const rows = text
    .split("\n")
    .filter((line) => line.startsWith("| "))
    .map((line) => line.split("|").slice(1, -1))
    .map((cells) => cells.map((cell) => cell.trim()));
  return rows.slice(rows.findIndex(([first]) => /^-+$/.test(first ?? "")) + 1);
}
