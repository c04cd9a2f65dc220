import { Composer, type Document, isAlias, isMap, isNode, isScalar, isSeq, LineCounter, Parser, visit } from "yaml";
import { isObject } from "./projection.ts";

/** One resource of a manifest. */
export interface ManifestObject {
  readonly value: Readonly<Record<string, unknown>>;
  /** Where it begins, from 1. */
  readonly line: number;
}

/** Why a manifest cannot be read. The message says it in one line, without the file. */
export class ManifestError extends Error {
  override readonly name = "ManifestError";
  /** From 1. */
  readonly line: number;

  constructor(message: string, line: number) {
    super(message);
    this.line = line;
  }
}

/** Nodes that aliases may stand for, in all: keeps a small file from becoming a huge value ("billion laughs"). */
const ALIAS_NODES_MAX = 1000;
/** Maps in lists in maps …: custom resources have a dozen levels; the recursion of whoever reads on must end. */
const DEPTH_MAX = 100;
const TOO_DEEP = "too deeply nested";
/** Reading makes room for others after so long, so that a large file delays no request noticeably. */
const WORK_SLICE_MS = 8;

/**
 * Reads the resources of a YAML or JSON text (JSON is YAML): all documents, and the items of `List` kinds one by one.
 * Documents that are empty are passed over. Throws ManifestError for anything that is wrong anywhere: a text counts as
 * a whole or not at all.
 *
 * @param options `pause`: called now and then; resolves when the event loop has turned.
 */
export async function readManifest(
  text: string,
  options: { readonly pause: () => Promise<void> },
): Promise<readonly ManifestObject[]> {
  const lines = new LineCounter();
  const tokens = new Parser(lines.addNewLine).parse(text);
  // Equal keys are looked for below: the package compares each with each, which takes minutes for a large map.
  const composer = new Composer({ uniqueKeys: false, logLevel: "error", version: "1.2" });
  const objects: ManifestObject[] = [];
  let sliceEnd = performance.now() + WORK_SLICE_MS;
  for (const document of composer.compose(tokens, false, text.length)) {
    objects.push(...readDocument(document, lines));
    if (performance.now() < sliceEnd) continue;
    await options.pause();
    sliceEnd = performance.now() + WORK_SLICE_MS;
  }
  return objects;
}

function readDocument(document: Document.Parsed, lines: LineCounter): readonly ManifestObject[] {
  const [error] = document.errors;
  if (error !== undefined) {
    // The package composes recursively, and reports where its stack ended as an error of the text.
    const isTooDeep = error.message.startsWith("Maximum call stack");
    const message = isTooDeep ? TOO_DEEP : firstLine(error.message);
    throw new ManifestError(message, lineAt(lines, error.pos[0]));
  }
  const line = lineOf(document.contents, lines);
  checkNodes(document, lines);
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
    // The API server leaves kind and version out of the items of a typed list.
    const inherited = kind === "List" ? {} : { apiVersion: value["apiVersion"], kind: kind.slice(0, -"List".length) };
    return { value: { ...inherited, ...item }, line: itemLine };
  });
}

/** Refuses equal keys (YAML 1.2.2 §3.2.1.3) and depths that nobody needs. */
function checkNodes(document: Document.Parsed, lines: LineCounter): void {
  visit(document, {
    Node(_, node, path) {
      if (path.length > DEPTH_MAX) throw new ManifestError(TOO_DEEP, lineOf(node, lines));
      if (!isMap(node)) return;
      const seen = new Set<unknown>();
      for (const { key } of node.items) {
        if (!isScalar(key)) {
          const isFine = !isMap(key) && !isSeq(key) && !isAlias(key);
          if (!isFine) throw new ManifestError("a key must be a text", lineOf(key, lines));
          continue;
        }
        // As a property's name: `1` and `"1"` are one and the same there.
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
    throw new ManifestError(error instanceof Error ? firstLine(error.message) : "cannot be read", line);
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
