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

/** One document of a manifest, or what stands in a list there. */
export interface ManifestObject {
  readonly value: Readonly<Record<string, unknown>>;
  /** Where it begins, from 1. */
  readonly line: number;
}

/** Maps in lists in maps …: custom resources have a dozen levels; the recursion of whoever reads on must end. */
export const DEPTH_MAX = 100;
export const TOO_DEEP = "too deeply nested";
