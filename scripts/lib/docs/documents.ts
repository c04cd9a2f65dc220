import { formatStoredPerformance, PERFORMANCE_DOCUMENT } from "../bench/performance-file.ts";
import { formatErrorsDocument } from "./format-errors.ts";
import { formatFlagsDocument } from "./format-flags.ts";

/** The documents that `./scripts/docs` writes: path from the root of the repository, and text. */
export function formatDocuments(): readonly { readonly path: string; readonly text: string }[] {
  return [
    { path: "docs/flags.md", text: formatFlagsDocument() },
    { path: "docs/errors.md", text: formatErrorsDocument() },
    { path: PERFORMANCE_DOCUMENT, text: formatStoredPerformance() },
  ];
}
