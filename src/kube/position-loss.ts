import type { KubeErrorKind } from "./errors.ts";

/**
 * Whether a new watch from the same position can repair the store after this failure.
 * - `lost`: no, all objects must be listed
 * - `kept`: yes
 * - `doubtful`: yes if the failure passes; a server that keeps answering like this may never accept the position again
 */
export function positionAfter(kind: KubeErrorKind): "lost" | "kept" | "doubtful" {
  switch (kind) {
    case "expired":
    case "ahead":
    case "protocol":
    case "forbidden":
    case "missing":
    case "conflict":
    case "refused":
      return "lost";
    case "unauthorized":
    case "server":
      return "doubtful";
    case "credentials":
    case "unreachable":
    case "throttled":
    case "silent":
      return "kept";
    default:
      return kind satisfies never;
  }
}
