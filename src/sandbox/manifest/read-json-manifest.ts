import { DEPTH_MAX, ManifestError, type ManifestObject, TOO_DEEP } from "./manifest-error.ts";
import type { SlicedWork } from "../pacer.ts";
import { isObject } from "../../values.ts";

/**
 * Longest resource, in characters. `JSON.parse` reads a resource in one go: at worst 0.1 s, for a map of nothing but
 * keys. The API server refuses objects above 1.5 MiB.
 */
const RESOURCE_MAX_CHARS = 2 * 1024 * 1024;
/** Keys in one map. Real maps have fewer than a hundred; all keys are remembered, which takes memory. */
const KEYS_MAX = 100_000;
/** Resources in one list: more than a whole manifest folder may hold. */
const ITEMS_MAX = 500_000;
/** Between two items of a list: a comma, a line break and some indentation. They are not part of a resource. */
const SEPARATOR_CHARS = 16;
/** Tokens between two checks of the time: about 0.1 ms. */
const TOKENS_PER_LOOK = 1_000;

interface OpenValue {
  readonly isMap: boolean;
  keys: Set<string> | undefined;
  expectsKey: boolean;
}

/** A resource in the list `items`, as a range of the text. */
interface Item {
  readonly start: number;
  end: number;
  readonly line: number;
}

interface Outline {
  readonly items: readonly Item[];
  /** The line of the first member of `items` that is not a map. */
  readonly strayLine: number | undefined;
  readonly duplicate: ManifestError | undefined;
}

/**
 * Reads a JSON text (RFC 8259) in slices: first its outline, then each resource of its list. Returns undefined if the
 * text is not JSON; it may be YAML. Throws ManifestError for JSON that cannot be a manifest.
 */
export function* readJsonManifest(text: string, firstLine: number): SlicedWork<readonly ManifestObject[] | undefined> {
  const outline = yield* readOutline(text, firstLine);
  if (outline === undefined) return undefined;
  const frame = parse(cutItems(text, { items: outline.items, firstLine }));
  if (!isObject(frame)) return undefined;
  if (outline.duplicate !== undefined) throw outline.duplicate;
  const { kind, apiVersion } = { kind: frame["kind"], apiVersion: frame["apiVersion"] };
  if (typeof kind !== "string" || !kind.endsWith("List")) {
    checkLength(text.length, firstLine);
    const value = outline.items.length === 0 ? frame : parse(text);
    return isObject(value) ? [{ value, line: firstLine }] : undefined;
  }
  if (!Array.isArray(frame["items"]))
    throw new ManifestError(`the items of a ${kind.slice(0, 80)} must be a list`, firstLine);
  if (outline.strayLine !== undefined) throw new ManifestError("a resource must be a map", outline.strayLine);
  // The API server omits kind and version from the items of a typed list.
  const inherited = kind === "List" ? {} : { apiVersion, kind: kind.slice(0, -"List".length) };
  return yield* readItems(text, outline.items, inherited);
}

function* readItems(
  text: string,
  items: readonly Item[],
  inherited: Readonly<Record<string, unknown>>,
): SlicedWork<readonly ManifestObject[] | undefined> {
  const objects: ManifestObject[] = [];
  for (const { start, end, line } of items) {
    checkLength(end - start, line);
    const value = parse(text.slice(start, end));
    if (!isObject(value)) return undefined;
    objects.push({ value: { ...inherited, ...value }, line });
    yield;
  }
  return objects;
}

function checkLength(chars: number, line: number): void {
  if (chars > RESOURCE_MAX_CHARS) {
    throw new ManifestError(`a resource is longer than ${RESOURCE_MAX_CHARS} characters`, line);
  }
}

/** Returns undefined if the text is not JSON. No JSON value is undefined. */
function parse(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch {
    return undefined;
  }
}

/** The text with `0` in place of each item, so that the rest can be parsed separately. */
function cutItems(text: string, options: { readonly items: readonly Item[]; readonly firstLine: number }): string {
  const parts: string[] = [];
  let at = 0;
  for (const { start, end } of options.items) {
    parts.push(text.slice(at, start));
    at = end;
  }
  parts.push(text.slice(at));
  const frameChars = parts.reduce((sum, { length }) => sum + length, 0);
  checkLength(frameChars - options.items.length * SEPARATOR_CHARS, options.firstLine);
  return parts.join("0");
}

/** Finds the items, and equal keys, which `JSON.parse` does not report. Reads only brackets, strings and commas. */
function* readOutline(text: string, firstLine: number): SlicedWork<Outline | undefined> {
  const outline = new OutlineReader(text, firstLine);
  while (outline.read(TOKENS_PER_LOOK)) yield;
  return outline.result();
}

class OutlineReader {
  readonly #text: string;
  readonly #open: OpenValue[] = [];
  readonly #items: Item[] = [];
  #at = 0;
  #line: number;
  #isBroken = false;
  /** The last key of the outermost map. */
  #topKey = "";
  #strayLine: number | undefined;
  #duplicate: ManifestError | undefined;

  constructor(text: string, firstLine: number) {
    this.#text = text;
    this.#line = firstLine;
  }

  /** Reads at most `tokens` tokens. Returns false at the end of the text, or if it is not JSON. */
  read(tokens: number): boolean {
    const text = this.#text;
    for (let left = tokens; left > 0; left -= 1) {
      if (this.#at >= text.length || this.#isBroken) return false;
      this.#readToken(text.charAt(this.#at));
      this.#at += 1;
    }
    return true;
  }

  result(): Outline | undefined {
    if (this.#isBroken || this.#open.length > 0) return undefined;
    return { items: this.#items, strayLine: this.#strayLine, duplicate: this.#duplicate };
  }

  #readToken(char: string): void {
    const top = this.#open.at(-1);
    if (char === "\n") this.#line += 1;
    else if (char === ",") this.#expectKey(top?.isMap === true);
    else if (char === ":") this.#expectKey(false);
    else if (char === "{" || char === "[") this.#enter(char === "{");
    else if (char === "}" || char === "]") this.#leave(char === "}");
    else if (char === " " || char === "\t" || char === "\r") return;
    else {
      if (this.#isInItems()) this.#strayLine ??= this.#line;
      if (char === '"') this.#readString(top);
    }
  }

  #expectKey(expectsKey: boolean): void {
    const top = this.#open.at(-1);
    if (top !== undefined) top.expectsKey = expectsKey;
  }

  #isInItems(): boolean {
    return this.#open.length === 2 && this.#topKey === "items" && this.#open[1]?.isMap === false;
  }

  #enter(isMap: boolean): void {
    if (this.#open.length >= DEPTH_MAX) throw new ManifestError(TOO_DEEP, this.#line);
    if (this.#isInItems()) {
      if (!isMap) this.#strayLine ??= this.#line;
      if (this.#items.length >= ITEMS_MAX) throw new ManifestError(`more than ${ITEMS_MAX} items`, this.#line);
      this.#items.push({ start: this.#at, end: this.#at, line: this.#line });
    }
    this.#open.push({ isMap, keys: undefined, expectsKey: isMap });
  }

  #leave(isMap: boolean): void {
    this.#isBroken ||= this.#open.pop()?.isMap !== isMap;
    const item = this.#isInItems() ? this.#items.at(-1) : undefined;
    if (item !== undefined) item.end = this.#at + 1;
  }

  /** Leaves the position on the closing quote. */
  #readString(top: OpenValue | undefined): void {
    const start = this.#at;
    const end = findQuote(this.#text, start);
    this.#isBroken ||= end < 0;
    this.#at = Math.max(start, end);
    if (top?.expectsKey !== true || end < 0) return;
    top.expectsKey = false;
    const key = parse(this.#text.slice(start, end + 1));
    if (typeof key !== "string") return;
    if (this.#open.length === 1) this.#topKey = key;
    const keys = (top.keys ??= new Set());
    if (keys.has(key)) {
      this.#duplicate ??= new ManifestError(`duplicate key ${JSON.stringify(key).slice(0, 80)}`, this.#line);
    }
    if (keys.size >= KEYS_MAX) throw new ManifestError(`more than ${KEYS_MAX} keys in a map`, this.#line);
    keys.add(key);
  }
}

/** The quote that closes the string starting at `start`; -1 if it is missing. */
function findQuote(text: string, start: number): number {
  for (let at = text.indexOf('"', start + 1); at >= 0; at = text.indexOf('"', at + 1)) {
    let backslashes = 0;
    while (text.charAt(at - 1 - backslashes) === "\\") backslashes += 1;
    if (backslashes % 2 === 0) return at;
  }
  return -1;
}
