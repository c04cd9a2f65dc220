import type { KubeErrorKind } from "./errors.ts";

/**
 * Whether a watch that failed so can be made up for by watching again from the same position.
 * - `lost`: it cannot, all objects have to be listed
 * - `kept`: it can
 * - `doubtful`: it can if it passes; a server that goes on answering so may never accept the position again
 */
export function positionAfter(kind: KubeErrorKind): "lost" | "kept" | "doubtful" {
  switch (kind) {
    case "expired":
    case "ahead":
    case "protocol":
    case "forbidden":
    case "missing":
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
