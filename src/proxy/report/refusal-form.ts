/** The form of a refusal: plain text (docs/contract.md §5), problem details (RFC 9457), or a page for people. */
export type RefusalForm = "text" | "problem" | "page";

/** Request headers that decide the form, for `Vary` (RFC 9110 §12.5.5). */
export const FORM_HEADERS = "Accept, Sec-Fetch-Mode";

/** How many media ranges of `Accept` are read. Browsers send at most eight. */
const RANGES_MAX = 32;

const PROBLEM = "application/problem+json";
const HTML = "text/html";

/** A media range and its weight (RFC 9110 §12.5.1). */
interface MediaRange {
  readonly type: string;
  /** 0 to 1; 0: not acceptable. */
  readonly weight: number;
}

/**
 * Chooses the form that the client asks for:
 * - `page` for a browser's navigation with GET (`Sec-Fetch-Mode: navigate`; without that header, `text/html` first in
 *   `Accept`);
 * - `problem` if `Accept` names `application/problem+json` and does not prefer plain text, or names `application/json`
 *   and does not accept plain text;
 * - `text` for all other clients.
 * HEAD gets the same form as GET (RFC 9110 §9.3.2).
 */
export function chooseForm(request: Pick<Request, "method" | "headers">): RefusalForm {
  const { headers, method } = request;
  const ranges = parseAccept(headers.get("accept") ?? "");
  if ((method === "GET" || method === "HEAD") && isNavigation(headers.get("sec-fetch-mode"), ranges)) return "page";
  const weightOf = (...types: readonly string[]): number =>
    Math.max(0, ...ranges.filter(({ type }) => types.includes(type)).map(({ weight }) => weight));
  const plain = weightOf("text/plain", "text/*");
  const problem = weightOf(PROBLEM);
  if (problem > 0 && problem >= plain) return "problem";
  return weightOf("application/json") > 0 && plain === 0 && weightOf("*/*") === 0 ? "problem" : "text";
}

function isNavigation(fetchMode: string | null, ranges: readonly MediaRange[]): boolean {
  if (fetchMode !== null) return fetchMode === "navigate";
  let first: MediaRange | undefined;
  for (const range of ranges) if (range.weight > (first?.weight ?? 0)) first = range;
  return first?.type === HTML;
}

function parseAccept(field: string): readonly MediaRange[] {
  return field.split(",", RANGES_MAX).map((element) => {
    const [type = "", ...parameters] = element.split(";");
    const quality = parameters.map((text) => /^\s*q=([01](?:\.\d{0,3})?)\s*$/i.exec(text)?.[1]).find(Boolean);
    return { type: type.trim().toLowerCase(), weight: Math.min(1, Number(quality ?? 1)) };
  });
}
