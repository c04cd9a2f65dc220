/** A request that a page cannot answer. Its message is for the client and repeats nothing of the request. */
export class BadQuestion extends Error {
  override readonly name = "BadQuestion";
}

/** The number of a parameter; `fallback` if it is missing. Throws BadQuestion outside of 1 to `max`. */
export function readCount(url: URL, name: string, limits: { readonly fallback: number; readonly max: number }): number {
  const text = url.searchParams.get(name);
  if (text === null || text === "") return limits.fallback;
  const count = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > limits.max) throw new BadQuestion(`${name} must be a number from 1 to ${limits.max}`);
  return count;
}

/** One of a few words; undefined if it is missing. Throws BadQuestion for any other. */
export function readWord<T extends string>(url: URL, name: string, words: readonly T[]): T | undefined {
  const text = url.searchParams.get(name);
  if (text === null || text === "") return undefined;
  const word = words.find((known) => known === text);
  if (word === undefined) throw new BadQuestion(`${name} must be ${words.join(" or ")}`);
  return word;
}

/** A text to search for, in lower case; empty if it is missing. Throws BadQuestion above `maxChars` characters. */
export function readSearch(url: URL, name: string, maxChars: number): string {
  const text = (url.searchParams.get(name) ?? "").trim().toLowerCase();
  if (text.length > maxChars) throw new BadQuestion(`${name} must have at most ${maxChars} characters`);
  return text;
}

/** Wall-clock milliseconds as RFC 3339 with milliseconds. */
export function formatTime(wallMs: number): string {
  return new Date(wallMs).toISOString();
}
