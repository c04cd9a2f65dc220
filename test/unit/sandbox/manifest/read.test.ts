import { describe, expect, test } from "bun:test";
import { systemClock } from "../../../../src/clock.ts";
import { ManifestError } from "../../../../src/sandbox/manifest/manifest-error.ts";
import { createPacer } from "../../../../src/sandbox/pacer.ts";
import { readManifest } from "../../../../src/sandbox/manifest/read.ts";
import { createRandom } from "../../../../scripts/lib/stage/random.ts";

const read = (text: string) =>
  readManifest(text, { pacer: createPacer(systemClock, { pause: () => Promise.resolve() }) });

async function failure(text: string): Promise<ManifestError> {
  try {
    await read(text);
  } catch (error) {
    if (error instanceof ManifestError) return error;
    throw error;
  }
  throw new Error("the manifest was read");
}

describe("readManifest", () => {
  test("readManifest returns all documents with their lines, and skips empty ones", async () => {
    const text = "# a comment\n---\nkind: A\n---\n---\n\nkind: B\nx: [1, 'two']\n...\n---\nkind: C\n";
    expect(await read(text)).toEqual([
      { value: { kind: "A" }, line: 3 },
      { value: { kind: "B", x: [1, "two"] }, line: 7 },
      { value: { kind: "C" }, line: 11 },
    ]);
    for (const empty of ["", "\n", "# nothing\n", "---\n", "null\n"]) expect(await read(empty)).toEqual([]);
  });

  test("readManifest reads JSON, with tabs, escapes and CRLF", async () => {
    expect(await read('{\r\n\t"kind": "A",\r\n\t"name": "\\u00e9\\ud83d\\ude00\\/"\r\n}\r\n')).toEqual([
      { value: { kind: "A", name: "é\u{1f600}/" }, line: 1 },
    ]);
  });

  test("readManifest splits lists, and fills in the kind that a typed list omits", async () => {
    const text =
      "apiVersion: v1\nkind: List\nitems:\n- kind: A\n- kind: B\n---\napiVersion: g/v1\nkind: FooList\nitems: [{metadata: {name: x}}]\n";
    expect(await read(text)).toEqual([
      { value: { kind: "A" }, line: 4 },
      { value: { kind: "B" }, line: 5 },
      { value: { apiVersion: "g/v1", kind: "Foo", metadata: { name: "x" } }, line: 9 },
    ]);
  });

  test.each([
    ["a: 1\nb: [1\n", 3, "Flow sequence"],
    ["kind: A\n---\nkind: B\nx: 'open\n", 5, "Missing closing"],
    ["a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", 5, 'duplicate key "c"'],
    ['{"a": 1,\n "a": 2}', 2, 'duplicate key "a"'],
    ["1: a\n'1': b\n", 2, 'duplicate key "1"'],
    ["a: *nobody\n", 1, "Unresolved alias"],
    ["kind: A\n---\n- a\n- b\n", 3, "a resource must be a map"],
    ["just text\n", 1, "a resource must be a map"],
    ["kind: List\nitems: 7\n", 1, "must be a list"],
    ["kind: List\nitems:\n- a\n", 3, "a resource must be a map"],
    ["? [a, b]\n: c\n", 1, "a key must be a scalar"],
  ])("readManifest refuses %j at line %d", async (text, line, message) => {
    const error = await failure(text);
    expect(error.line).toBe(line);
    expect(error.message).toContain(message);
    expect(error.message).not.toContain("\n");
  });

  test("readManifest refuses extreme depths, closed or open", async () => {
    expect((await failure(`kind: A\na: ${"[".repeat(150)}${"]".repeat(150)}\n`)).message).toBe("too deeply nested");
    expect((await failure(`kind: A\na: ${"[".repeat(100_000)}`)).message).toBe("too deeply nested");
  });

  test("readManifest refuses aliases that would become a huge value", async () => {
    const lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"];
    for (let level = 1; level < 9; level += 1) {
      lines.push(`a${level}: &a${level} [${Array.from({ length: 10 }, () => `*a${level - 1}`).join(", ")}]`);
    }
    expect((await failure(lines.join("\n"))).message).toContain("alias");
  });

  test("readManifest keeps a key named __proto__ to itself", async () => {
    const [object] = await read("kind: A\n__proto__:\n  metadata: {name: x}\n");
    expect(object?.value["metadata"]).toBeUndefined();
  });

  test("readManifest reads a map of many keys in time proportional to their number", async () => {
    const text = Array.from({ length: 50_000 }, (_, index) => `key${index}: ${index}`).join("\n");
    expect(Object.keys((await read(text))[0]?.value ?? {})).toHaveLength(50_000);
  });

  test("readManifest gives maps or a ManifestError for any text, and nothing else", async () => {
    const random = createRandom(11);
    const pieces = [
      "kind: List\n",
      "items:\n",
      "- ",
      "  ",
      "a: ",
      "{",
      "}",
      "[",
      "]",
      "&x ",
      "*x",
      ": ",
      "---\n",
      "...\n",
      "'",
      '"',
      "\t",
      "#",
      "|\n",
      ">",
      "?",
      "!!int ",
      "%YAML 1.1\n",
      "<<: ",
      "\u0000",
      "\ufeff",
      "\n",
      "é",
      "1",
      "~",
    ] as const;
    let seen = 0;
    for (let run = 0; run < 3_000; run += 1) {
      let text = "";
      for (let left = random.integer(30); left > 0; left -= 1) text += random.pick(pieces);
      try {
        for (const { value, line } of await read(text)) {
          expect(typeof value).toBe("object");
          expect(line).toBeGreaterThan(0);
          seen += 1;
        }
      } catch (error) {
        if (!(error instanceof ManifestError)) throw new Error(`for ${JSON.stringify(text)}`, { cause: error });
      }
    }
    expect(seen).toBeGreaterThan(20);
  });
});
