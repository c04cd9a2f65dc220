/** Why a manifest cannot be read. The message is one line and does not name the file. */
export class ManifestError extends Error {
  override readonly name = "ManifestError";
  /** From 1. */
  readonly line: number;

  constructor(message: string, line: number) {
    super(message);
    this.line = line;
  }
}

/** One document of a manifest, or one item of a list in it. */
export interface ManifestObject {
  readonly value: Readonly<Record<string, unknown>>;
  /** Where it begins, from 1. */
  readonly line: number;
}

/** Levels of nesting. Custom resources have about a dozen; the bound ends the recursion of every reader. */
export const DEPTH_MAX = 100;
export const TOO_DEEP = "too deeply nested";
