import {
  Composer,
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  Parser,
  visit,
} from "yaml";
import { DEPTH_MAX, ManifestError, type ManifestObject, TOO_DEEP } from "./manifest-error.ts";
import type { Pacer, SlicedWork } from "../pacer.ts";
import { readJsonManifest } from "./read-json-manifest.ts";
import { splitDocuments, type TextPart } from "./split-documents.ts";
import { isObject, messageOf } from "../../values.ts";

/**
 * Maximum number of nodes that aliases may stand for in all. It keeps a small file from becoming a huge value ("billion
 * laughs").
 */
const ALIAS_NODES_MAX = 1000;
/**
 * Largest YAML document, in characters and in lexemes (words, line breaks, brackets …). The package builds a document
 * in one go, at 0.4 µs for a lexeme and 90 ms for a MiB of long text: 0.2 s for 5,500 sandboxes in one list. Lists in
 * JSON and separate documents have no such limit.
 */
const DOCUMENT_MAX_CHARS = 2 * 1024 * 1024;
const DOCUMENT_MAX_LEXEMES = 400_000;
/** Small documents are read together, because each reading has a fixed cost. */
const BATCH_CHARS = 64 * 1024;
/** White space before a document that may be JSON is searched up to this length. */
const JSON_HEAD_MAX_CHARS = 1024;
/** Lexemes between two checks of the time: about 0.1 ms. */
const LEXEMES_PER_LOOK = 100;

/**
 * Reads the resources of a YAML or JSON text (JSON is YAML): all documents, and each item of the `List` kinds. Skips
 * empty documents. Throws ManifestError for any fault anywhere: a text is accepted as a whole or not at all. Works in
 * slices, which the limits here and in `readJsonManifest` bound.
 */
export function readManifest(text: string, options: { readonly pacer: Pacer }): Promise<readonly ManifestObject[]> {
  return options.pacer.run(readParts(text));
}

function* readParts(text: string): SlicedWork<readonly ManifestObject[]> {
  const objects: ManifestObject[] = [];
  let linesBefore = 0;
  for (const { start, end } of joinSmall(text, splitDocuments(text))) {
    const part = text.slice(start, end);
    try {
      for (const { value, line } of yield* readPart(part)) objects.push({ value, line: line + linesBefore });
    } catch (error) {
      if (error instanceof ManifestError) throw new ManifestError(error.message, error.line + linesBefore);
      throw error;
    }
    linesBefore += countNewlines(part);
    yield;
  }
  return objects;
}

/** Joins small neighbours. Text that looks like JSON stays separate. */
function* joinSmall(text: string, parts: Iterable<TextPart>): Generator<TextPart, void, undefined> {
  let batch: TextPart | undefined;
  for (const part of parts) {
    const isJson = findJson(text, part.start) !== undefined;
    if (batch !== undefined && !isJson && part.end - batch.start <= BATCH_CHARS) {
      batch = { start: batch.start, end: part.end };
      continue;
    }
    if (batch !== undefined) yield batch;
    batch = isJson ? undefined : part;
    if (isJson) yield part;
  }
  if (batch !== undefined) yield batch;
}

/** Where JSON seems to begin in a part: a brace, perhaps after a line `---`. */
function findJson(text: string, start: number): number | undefined {
  const head = /^(?:---(?=\s))?\s*(?=\{)/.exec(text.slice(start, start + JSON_HEAD_MAX_CHARS));
  return head === null ? undefined : start + head[0].length;
}

function* readPart(part: string): SlicedWork<readonly ManifestObject[]> {
  const jsonAt = findJson(part, 0);
  if (jsonAt === undefined) return yield* readYaml(part);
  const firstLine = countNewlines(part.slice(0, jsonAt)) + 1;
  const found = yield* readJsonManifest(part.slice(jsonAt), firstLine);
  return found ?? (yield* readYaml(part));
}

function countNewlines(text: string): number {
  let count = 0;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) count += 1;
  return count;
}

function* readYaml(text: string): SlicedWork<readonly ManifestObject[]> {
  if (text.length > DOCUMENT_MAX_CHARS) {
    throw new ManifestError(`a document that is not JSON is longer than ${DOCUMENT_MAX_CHARS} characters`, 1);
  }
  const lines = new LineCounter();
  const parser = new Parser(lines.addNewLine);
  // Equal keys are checked below. The package compares each key with each other, which takes minutes for a large map.
  const composer = new Composer({ uniqueKeys: false, logLevel: "error", version: "1.2" });
  const objects: ManifestObject[] = [];
  function* take(documents: Iterable<Document.Parsed>): SlicedWork<void> {
    for (const document of documents) objects.push(...(yield* readDocument(document, lines)));
  }
  lines.addNewLine(0);
  let lexemes = 0;
  for (const lexeme of new Lexer().lex(text)) {
    lexemes += 1;
    if (lexemes > DOCUMENT_MAX_LEXEMES) {
      throw new ManifestError(`a YAML document has more than ${DOCUMENT_MAX_LEXEMES} words and marks`, 1);
    }
    for (const token of parser.next(lexeme)) yield* take(composer.next(token));
    if (lexemes % LEXEMES_PER_LOOK === 0) yield;
  }
  for (const token of parser.end()) yield* take(composer.next(token));
  yield* take(composer.end(false, text.length));
  return objects;
}

function* readDocument(document: Document.Parsed, lines: LineCounter): SlicedWork<readonly ManifestObject[]> {
  const [error] = document.errors;
  if (error !== undefined) {
    // The package composes recursively. It reports its own full stack as an error of the text.
    const isTooDeep = error.message.startsWith("Maximum call stack");
    const message = isTooDeep ? TOO_DEEP : firstLine(error.message);
    throw new ManifestError(message, lineAt(lines, error.pos[0]));
  }
  const line = lineOf(document.contents, lines);
  yield;
  checkNodes(document, lines);
  yield;
  const value = toValue(document, line);
  if (value === null || value === undefined) return [];
  if (!isObject(value)) throw new ManifestError("a resource must be a map", line);
  const { kind, items } = { kind: value["kind"], items: value["items"] };
  if (typeof kind !== "string" || !kind.endsWith("List")) return [{ value, line }];
  if (!Array.isArray(items)) throw new ManifestError(`the items of a ${firstLine(kind)} must be a list`, line);
  const values: readonly unknown[] = items;
  return values.map((item, index) => {
    const itemLine = lineOf(document.getIn(["items", index], true), lines);
    if (!isObject(item)) throw new ManifestError("a resource must be a map", itemLine);
    // The API server omits kind and version from the items of a typed list.
    const inherited = kind === "List" ? {} : { apiVersion: value["apiVersion"], kind: kind.slice(0, -"List".length) };
    return { value: { ...inherited, ...item }, line: itemLine };
  });
}

/** Refuses equal keys (YAML 1.2.2 §3.2.1.3) and extreme depths. */
function checkNodes(document: Document.Parsed, lines: LineCounter): void {
  visit(document, {
    Node(_, node, path) {
      if (path.length > DEPTH_MAX) throw new ManifestError(TOO_DEEP, lineOf(node, lines));
      if (!isMap(node)) return;
      const seen = new Set<unknown>();
      for (const { key } of node.items) {
        if (!isScalar(key)) {
          const isFine = !isMap(key) && !isSeq(key) && !isAlias(key);
          if (!isFine) throw new ManifestError("a key must be a scalar", lineOf(key, lines));
          continue;
        }
        // As a property name: `1` and `"1"` are the same key.
        const name = String(key.value);
        if (seen.has(name)) throw new ManifestError(`duplicate key ${JSON.stringify(name)}`, lineOf(key, lines));
        seen.add(name);
      }
    },
  });
}

function toValue(document: Document.Parsed, line: number): unknown {
  try {
    const value: unknown = document.toJS({ maxAliasCount: ALIAS_NODES_MAX });
    return value;
  } catch (error) {
    throw new ManifestError(firstLine(messageOf(error)), line);
  }
}

function lineOf(node: unknown, lines: LineCounter): number {
  return lineAt(lines, isNode(node) ? (node.range?.[0] ?? 0) : 0);
}

function lineAt(lines: LineCounter, offset: number): number {
  return Math.max(1, lines.linePos(offset).line);
}

/** Messages of the package can quote the text on further lines. */
function firstLine(message: string): string {
  return message.split("\n", 1)[0]?.slice(0, 200) ?? "";
}
