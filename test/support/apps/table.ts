import type { Row } from "./try-app.ts";
import type { Settings } from "./stage.ts";

/** The columns of the table in `docs/apps.md` and the forms that each tells about. */
const COLUMNS = { host: ["host"], strip: ["uri", "told"], keep: ["keep"] } as const;

/** The letters of the settings, as `docs/apps.md` explains them; the order is that of a cell. */
const LETTERS: readonly (readonly [letter: string, settings: Settings])[] = [
  ["", {}],
  ["O", { "origin-header": "upstream" }],
  ["P", { "host-header": "preserve" }],
  ["L", { "host-header": "localhost", "origin-header": "upstream" }],
];
/** The letter of an application that is told its prefix while the ingress takes it off. */
const TOLD = "T";

type TriedRow = Pick<Row<never>, "form" | "settings" | "fails" | "use" | "letter">;

/**
 * What the table of `docs/apps.md` has to say about these rows, as its cells for the host form, `strip` and `keep`: everything
 * that works; `no` where nothing does, `-` where nothing was tried. Rows with a use of their own count only with a letter.
 * Throws where settings have no letter.
 */
export function formatCells(rows: readonly TriedRow[]): readonly string[] {
  const counted = rows.filter(({ use, letter }) => use === undefined || letter !== undefined);
  return Object.values(COLUMNS).map((forms: readonly string[]) => {
    const tried = counted.filter(({ form }) => forms.includes(form));
    if (tried.length === 0) return "-";
    const works = tried.filter(({ fails }) => fails === undefined);
    if (works.length === 0) return "no";
    const words = works.map(formatWord).toSorted(([left], [right]) => left - right);
    return [...new Set(words.map(([, word]) => word))].join(", ");
  });
}

/** How a cell names a row that works, and where the name stands in it. */
function formatWord({ form, settings = {}, letter }: TriedRow): readonly [rank: number, word: string] {
  const rank = LETTERS.findIndex(([, known]) => Bun.deepEquals(known, settings));
  const setting = LETTERS[rank]?.[0];
  if (setting === undefined) throw new Error(`these settings have no letter: ${JSON.stringify(settings)}`);
  const special = letter ?? (form === "told" ? TOLD : undefined);
  const parts = [special, setting].filter((part) => part !== undefined && part !== "");
  return [rank + (special === undefined ? 0 : LETTERS.length), parts.length === 0 ? "yes" : parts.join("+")];
}
