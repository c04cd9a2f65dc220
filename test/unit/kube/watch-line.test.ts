import { describe, expect, test } from "bun:test";
import { KubeError } from "../../../src/kube/errors.ts";
import { compareResourceVersions } from "../../../src/kube/resource.ts";
import { parseWatchLine } from "../../../src/kube/watch.ts";
import { createRandom } from "../../../scripts/lib/stage/random.ts";

const event = (type: string, object: unknown) => JSON.stringify({ type, object });

function kindOf(line: string): string {
  try {
    return parseWatchLine(line).type;
  } catch (error) {
    if (error instanceof KubeError) return error.kind;
    throw error;
  }
}

describe("parseWatchLine", () => {
  test("reads each type of event", () => {
    const object = { metadata: { name: "a", resourceVersion: "7" } };
    expect(parseWatchLine(event("ADDED", object))).toEqual({ type: "set", object, position: "7" });
    expect(parseWatchLine(event("MODIFIED", object))).toEqual({ type: "set", object, position: "7" });
    expect(parseWatchLine(event("DELETED", object))).toEqual({ type: "remove", object, position: "7" });
    const bookmark = (annotations: unknown) =>
      parseWatchLine(event("BOOKMARK", { metadata: { resourceVersion: "9", annotations } }));
    for (const annotations of [undefined, null, {}, [], { "k8s.io/initial-events-end": "false" }]) {
      expect(bookmark(annotations)).toEqual({ type: "bookmark", position: "9", endsObjects: false });
    }
    const end = bookmark({ "k8s.io/initial-events-end": "true", other: "x" });
    expect(end).toEqual({ type: "bookmark", position: "9", endsObjects: true });
  });

  test("throws the error of an ERROR event", () => {
    expect(kindOf(event("ERROR", { code: 410, reason: "Expired", message: "too old" }))).toBe("expired");
    expect(kindOf(event("ERROR", { code: 500, message: "no" }))).toBe("server");
    expect(kindOf(event("ERROR", { code: 504, reason: "Timeout" }))).toBe("server");
    const details = { causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }] };
    expect(kindOf(event("ERROR", { code: 504, reason: "Timeout", details }))).toBe("ahead");
    expect(kindOf(event("ERROR", {}))).toBe("protocol");
  });

  test("reads how long a throttling server asks to wait", () => {
    let thrown: unknown;
    try {
      parseWatchLine(event("ERROR", { code: 429, message: "slow", details: { retryAfterSeconds: 3 } }));
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ kind: "throttled", retryAfterMs: 3000, message: "429 slow" });
  });

  test("gives a change or a KubeError for any text", () => {
    const random = createRandom(5);
    const whole = event("ADDED", { metadata: { name: "a", resourceVersion: "7", uid: "u" } });
    const pieces = ['"', "{", "}", "null", "1", "[", "]", ",", ":", "\\", "\u0000", "é", "ERROR", "BOOKMARK"] as const;
    for (let round = 0; round < 3000; round++) {
      let line = whole;
      for (let change = 0; change <= random.integer(4); change++) {
        const at = random.integer(line.length + 1);
        line = line.slice(0, at) + random.pick(pieces) + line.slice(at + random.integer(6));
      }
      expect(["set", "remove", "bookmark", "protocol", "server", "expired", "ahead"]).toContain(kindOf(line));
    }
  });

  test("never shows a line in its error, which could carry a token", () => {
    expect(() => parseWatchLine('{"object":{"token":"s3cret"')).toThrow(/^(?!.*s3cret)/);
  });
});

describe("compareResourceVersions", () => {
  test("compares decimal numbers of any length", () => {
    expect(compareResourceVersions("9", "10")).toBeLessThan(0);
    expect(compareResourceVersions("18446744073709551616", "9007199254740993")).toBeGreaterThan(0);
    expect(compareResourceVersions("12", "12")).toBe(0);
    expect(compareResourceVersions("123", "124")).toBeLessThan(0);
  });

  test("returns undefined for texts that are not decimal numbers", () => {
    for (const other of ["", "x1", "-1", "1.0", "01", " 1"]) {
      expect(compareResourceVersions("1", other)).toBeUndefined();
      expect(compareResourceVersions(other, "1")).toBeUndefined();
    }
  });
});
