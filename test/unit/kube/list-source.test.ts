import { describe, expect, test } from "bun:test";
import { KubeError, type KubeErrorKind } from "../../../src/kube/errors.ts";
import { firstSource, nextSource, type ListSource } from "../../../src/kube/list-source.ts";

const KINDS: readonly KubeErrorKind[] = [
  "credentials",
  "unreachable",
  "unauthorized",
  "forbidden",
  "missing",
  "expired",
  "throttled",
  "ahead",
  "refused",
  "server",
  "protocol",
  "silent",
];
const BOOLEANS = [true, false];

function next(
  source: ListSource,
  kind: KubeErrorKind,
  given = { canStream: true, hasPosition: true, wasReached: true },
) {
  return nextSource({ source, error: new KubeError(kind, "no"), wasReached: given.wasReached }, given);
}

describe("firstSource", () => {
  test("prefers the cheapest source for the server, and never asks for a version before it has one", () => {
    expect(firstSource({ canStream: true, hasPosition: false })).toBe("stream");
    expect(firstSource({ canStream: false, hasPosition: true })).toBe("cache");
    expect(firstSource({ canStream: false, hasPosition: false })).toBe("pages");
  });
});

describe("nextSource", () => {
  test("stays where it is while credentials, connection or the resource itself are missing", () => {
    for (const source of ["stream", "cache", "pages", "whole"] as const) {
      for (const kind of ["credentials", "unauthorized", "throttled", "missing"] as const) {
        expect(next(source, kind)).toEqual({ source, isImmediate: false });
      }
      expect(next(source, "unreachable", { canStream: true, hasPosition: true, wasReached: false }).source).toBe(
        source,
      );
    }
  });

  test("asks for a consistent list at once when the server is behind or history has ended", () => {
    for (const kind of ["ahead", "expired"] as const) {
      expect(next("cache", kind)).toEqual({ source: "pages", isImmediate: true });
    }
    expect(next("stream", "ahead")).toEqual({ source: "pages", isImmediate: true });
    expect(next("pages", "expired")).toEqual({ source: "whole", isImmediate: true });
  });

  test("never tries for ever without a pause, nor one source for ever when another may do", () => {
    for (const kind of KINDS) {
      for (const canStream of BOOLEANS) {
        for (const hasPosition of BOOLEANS) {
          const given = { canStream, hasPosition, wasReached: true };
          let source = firstSource(given);
          let inARow = 0;
          for (let round = 0; round < 20; round++) {
            const following = next(source, kind, given);
            inARow = following.isImmediate ? inARow + 1 : 0;
            expect(inARow).toBeLessThan(4);
            if (!hasPosition) expect(following.source).not.toBe("cache");
            source = following.source;
          }
        }
      }
    }
  });
});
