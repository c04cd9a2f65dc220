import { describe, expect, test } from "bun:test";
import { Composer, Parser } from "yaml";
import { ManifestError } from "../../../../src/sandbox/manifest/manifest-error.ts";
import { createPacer } from "../../../../src/sandbox/pacer.ts";
import { readManifest } from "../../../../src/sandbox/manifest/read.ts";
import { splitDocuments } from "../../../../src/sandbox/manifest/split-documents.ts";
import { createFakeClock } from "../../../../scripts/lib/stage/fake-clock.ts";
import { createRandom, type Random } from "../../../../scripts/lib/stage/random.ts";
import { batchSandbox } from "../../../../scripts/lib/stage/sandbox-objects.ts";

/**
 * Reads a text on a clock on which a slice is over at each look. Gives how often others had a turn, which is how many
 * pieces the work has.
 */
async function readInPieces(text: string) {
  let nowMs = 0;
  let turns = 0;
  const clock = { ...createFakeClock(), monotonic: () => (nowMs += 1_000) };
  const pacer = createPacer(clock, {
    pause: () => {
      turns += 1;
      return Promise.resolve();
    },
  });
  const objects = await readManifest(text, { pacer }).catch((error: unknown) => {
    if (error instanceof ManifestError) return error;
    throw error;
  });
  return { objects, turns };
}

async function read(text: string) {
  const { objects } = await readInPieces(text);
  if (objects instanceof ManifestError) throw objects;
  return objects;
}

async function failure(text: string): Promise<string> {
  const { objects } = await readInPieces(text);
  return objects instanceof ManifestError ? `${objects.line}: ${objects.message}` : "the manifest was read";
}

const resources = (count: number) => Array.from({ length: count }, (_, index) => batchSandbox({ name: `sb-${index}` }));
const yamlOf = (object: unknown) => Bun.YAML.stringify(object, null, 2);
const repeat = (text: string, chars: number) => text.repeat(Math.ceil(chars / text.length));

describe("readManifest in slices", () => {
  const COUNT = 2_000;
  const list = { apiVersion: "v1", kind: "List", items: resources(COUNT) };

  // The most work between two turns: a fraction of a millisecond, but for the three steps of one document.
  test.each<[string, string]>([
    ["a list in JSON", JSON.stringify(list)],
    ["a list in JSON with line breaks", JSON.stringify(list, null, 2)],
    [
      "JSON documents",
      resources(COUNT)
        .map((object) => JSON.stringify(object))
        .join("\n---\n"),
    ],
    ["YAML documents", resources(COUNT).map(yamlOf).join("\n---\n")],
    ["a list in YAML", yamlOf(list)],
  ])("readManifest gives others a turn between small pieces of %s", async (_, text) => {
    const { objects, turns } = await readInPieces(text);
    expect(objects).toHaveLength(COUNT);
    expect(turns).toBeGreaterThan(text.length / 4_096);
  });

  test("readManifest continues in one slice until its time is over", async () => {
    const clock = createFakeClock();
    let turns = 0;
    const pacer = createPacer(clock, { pause: () => Promise.resolve(void (turns += 1)) });
    expect(await readManifest(JSON.stringify(list), { pacer })).toHaveLength(COUNT);
    expect(turns).toBe(0);
  });

  test("createPacer waits for the event loop by a timer of the clock", async () => {
    const clock = createFakeClock();
    const pacer = createPacer(clock);
    expect(pacer.rest()).toBeUndefined();
    clock.advance(8);
    const rest = pacer.rest();
    let isOver = false;
    void rest?.then(() => (isOver = true));
    await Promise.resolve();
    expect(isOver).toBe(false);
    clock.advance(0);
    await rest;
    expect(isOver).toBe(true);
    expect(pacer.rest()).toBeUndefined();
  });
});

describe("readManifest: limits", () => {
  const MIB = 1024 * 1024;

  test.each([
    [
      "one long YAML document",
      `a: 1\n---\nb: |\n${repeat("  x\n", 3 * MIB)}`,
      "2: a document that is not JSON is longer than",
    ],
    ["a YAML document of many words", `a: [${repeat("x,", MIB)}]`, "1: a YAML document has more than 400000 words"],
    ["one large resource in JSON", `{"kind":"A","x":"${"x".repeat(3 * MIB)}"}`, "1: a resource is longer than"],
    [
      "a large resource in a list",
      `{"kind":"List",\n"items":[\n{"x":"${"x".repeat(3 * MIB)}"}]}`,
      "3: a resource is longer than",
    ],
    [
      "much beside the list",
      `{"kind":"List","x":"${"x".repeat(3 * MIB)}","items":[{}]}`,
      "1: a resource is longer than",
    ],
    ["endless depth in JSON", `{"a":${"[".repeat(5 * MIB)}`, "1: too deeply nested"],
    ["endless maps in JSON", repeat('{"a":', 5 * MIB), "1: too deeply nested"],
    [
      "too many keys",
      `{${Array.from({ length: 100_001 }, (_, at) => `"k${at}":1`).join(",")}}`,
      "1: more than 100000 keys",
    ],
    ["too many items", `{"kind":"List","items":[${repeat("{},", 3 * 500_001)}{}]}`, "1: more than 500000 items"],
    ["YAML that looks like JSON", `{"kind": A, "x": "${"x".repeat(3 * MIB)}"}`, "longer than"],
  ])("readManifest refuses %s", async (_, text, message) => {
    expect(await failure(text)).toContain(message);
  });

  test.each([
    ['{"kind":"List","items":[{},\n7]}', "2: a resource must be a map"],
    ['{"kind":"List","items":[[]]}', "1: a resource must be a map"],
    ['{"kind":"List",\n"items":[{"a":{"b":1,\n"b":2}}]}', '3: duplicate key "b"'],
    ['{"kind":"List"}', "1: the items of a List must be a list"],
    ['{"kind":"List","items":{}}', "1: the items of a List must be a list"],
    ['a: 1\n---\n{"a":1,\n"a":2}', '4: duplicate key "a"'],
  ])("readManifest refuses %j", async (text, message) => {
    expect(await failure(text)).toBe(message);
  });
});

describe("readManifest: JSON", () => {
  test("readManifest gives lines and values of documents in JSON, YAML that looks like JSON, and YAML together", async () => {
    const text =
      '---\n{"kind":"A"}\n---\n\n{"kind":"BList","items":[\n{"x":"{[,"},\n{}]}\n---\n{kind: C, "x": "y"}\n--- {"kind":"D"}\n---\nkind: E\n';
    expect(await read(text)).toEqual([
      { value: { kind: "A" }, line: 2 },
      { value: { kind: "B", x: "{[,", apiVersion: undefined }, line: 6 },
      { value: { kind: "B", apiVersion: undefined }, line: 7 },
      { value: { kind: "C", x: "y" }, line: 9 },
      { value: { kind: "D" }, line: 10 },
      { value: { kind: "E" }, line: 12 },
    ]);
  });

  test("readManifest keeps a key named __proto__ in JSON to itself", async () => {
    const [object] = await read('{"kind":"List","items":[{"__proto__":{"metadata":{}}}]}');
    expect(object?.value["metadata"]).toBeUndefined();
  });

  test("readManifest reads any JSON as JSON.parse does, alone and in a list", async () => {
    const random = createRandom(26);
    for (let run = 0; run < 2_000; run += 1) {
      const items = Array.from({ length: random.integer(4) }, () => randomMap(random, 4));
      const indent = random.pick([0, 1, "\t"]);
      const text = JSON.stringify({ kind: "List", x: randomValue(random, 3), items }, null, indent);
      expect((await read(text)).map(({ value }) => value)).toEqual(items);
      const one = { kind: "A", ...randomMap(random, 3) };
      expect((await read(JSON.stringify(one, null, indent)))[0]?.value).toEqual(one);
    }
  });

  test("readManifest gives resources or a ManifestError for damaged JSON, and nothing that JSON.parse would refuse", async () => {
    const random = createRandom(27);
    let accepted = 0;
    for (let run = 0; run < 3_000; run += 1) {
      const whole = JSON.stringify({ kind: "List", items: [randomMap(random, 3), randomMap(random, 2)] });
      const at = random.integer(whole.length);
      const text =
        whole.slice(0, at) +
        random.pick(["", ",", "}", "]", '"', "{", "[", ":", "0", "\n"]) +
        whole.slice(at + random.integer(3));
      const { objects } = await readInPieces(text);
      if (objects instanceof ManifestError) continue;
      accepted += 1;
      const parsed = Bun.YAML.parse(text);
      expect(objects.length).toBeLessThanOrEqual(3);
      expect(parsed).toBeDefined();
    }
    expect(accepted).toBeGreaterThan(20);
  });
});

describe("splitDocuments", () => {
  test("splitDocuments divides what the YAML package reads as a whole, into the same documents", () => {
    const random = createRandom(28);
    const pieces = [
      "a: 1\n",
      "---\n",
      "--- b\n",
      "...\n",
      "# c\n",
      "%YAML 1.2\n",
      "\n",
      "----\n",
      "x: |\n  ---\n",
      " ---\n",
      "- q\n",
      "---",
      "---x\n",
      "\r\n",
      '"s\n',
      ".... \n",
    ] as const;
    let compared = 0;
    for (let run = 0; run < 5_000; run += 1) {
      let text = "";
      for (let left = random.integer(10); left > 0; left -= 1) text += random.pick(pieces);
      const parts = [...splitDocuments(text)].map(({ start, end }) => text.slice(start, end));
      expect(parts.join("")).toBe(text);
      const whole = valuesOf(text);
      if (whole === undefined) continue;
      compared += 1;
      expect(parts.flatMap((part) => [...(valuesOf(part) ?? ["refused"])])).toEqual([...whole]);
    }
    expect(compared).toBeGreaterThan(500);
  });
});

/** The values of the documents that hold one; undefined: the text is refused. */
function valuesOf(text: string): readonly unknown[] | undefined {
  const documents = [...new Composer({ logLevel: "error" }).compose(new Parser().parse(text), false, text.length)];
  if (documents.some(({ errors }) => errors.length > 0)) return undefined;
  return documents.map((document): unknown => document.toJS()).filter((value) => value !== null && value !== undefined);
}

function randomMap(random: Random, depth: number): Record<string, unknown> {
  const keys = ["x", "items", 'a"b', "\\", "é\n", "{", "", "k"] as const;
  return Object.fromEntries(
    Array.from({ length: random.integer(4) }, () => [random.pick(keys), randomValue(random, depth)]),
  );
}

function randomValue(random: Random, depth: number): unknown {
  const kind = random.integer(depth > 0 ? 6 : 4);
  if (kind === 0) return random.pick([null, true, 0, -1.5e10]);
  if (kind < 4) return random.pick(["", "[", '}"', "\\\\", '\\"', ",:", "\u2028\ud83d\ude00", "---\n"]);
  if (kind === 4) return Array.from({ length: random.integer(4) }, () => randomValue(random, depth - 1));
  return randomMap(random, depth - 1);
}
