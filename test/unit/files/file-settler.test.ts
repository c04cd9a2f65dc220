import { describe, expect, test } from "bun:test";
import { FileSettler, type FileSight } from "../../../src/files/file-settler.ts";

const WALL_MS = 1_000_000;

function sight(version: number, size = 10, inode = 1): FileSight {
  return {
    signature: `${inode}:${size}:${version}`,
    inode: BigInt(inode),
    size: BigInt(size),
    modifiedMs: WALL_MS - 60_000,
  };
}

/** A settler that has seen `a` at rest at time 0. */
function settledOnA(): FileSettler<string> {
  const settler = new FileSettler<string>();
  expect(see(settler, 0, { a: sight(1) })).toBe(true);
  return settler;
}

/** Looks three times in a row, as at the end of a rest, and says whether anything changed. */
function see(
  settler: FileSettler<string>,
  nowMs: number,
  files: Record<string, FileSight | undefined>,
  state = "folder",
) {
  const look = { state, files: new Map(Object.entries(files)), isComplete: true };
  return [1, 2, 3].map(() => settler.note(look, { nowMs, wallMs: WALL_MS + nowMs })).includes(true);
}

describe("FileSettler", () => {
  test("FileSettler takes an old file at the first look, and a fresh one only after it has rested", () => {
    const settler = new FileSettler<string>();
    const fresh = { ...sight(1), modifiedMs: WALL_MS - 10 };
    expect(see(settler, 0, { old: sight(1), fresh })).toBe(true);
    expect([...settler.files().keys()]).toEqual(["old"]);
    expect(settler.isAtRest()).toBe(false);
    expect(see(settler, 400, { old: sight(1), fresh })).toBe(true);
    expect([...settler.files().keys()]).toEqual(["old", "fresh"]);
    expect(settler.isAtRest()).toBe(true);
  });

  test("FileSettler shows a file as it was until the writer has paused, and starts anew with each write", () => {
    const settler = settledOnA();
    for (let step = 1; step <= 8; step += 1)
      expect(see(settler, step * 200, { a: sight(step + 1, 10 + step) })).toBe(false);
    expect(settler.files().get("a")).toBe("1:10:1");
    expect(see(settler, 1600 + 399, { a: sight(9, 18) })).toBe(false);
    expect(see(settler, 1600 + 400, { a: sight(9, 18) })).toBe(true);
    expect(settler.files().get("a")).toBe("1:18:9");
  });

  test("FileSettler waits longer for a file that became shorter in place, not for one that was replaced", () => {
    const cut = settledOnA();
    see(cut, 100, { a: sight(2, 4) });
    expect(see(cut, 500, { a: sight(2, 4) })).toBe(false);
    expect(see(cut, 700, { a: sight(2, 4) })).toBe(true);
    const replaced = settledOnA();
    see(replaced, 100, { a: sight(2, 4, 2) });
    expect(see(replaced, 500, { a: sight(2, 4, 2) })).toBe(true);
  });

  test("FileSettler forgets a file that stays away, and not one that comes back", () => {
    const settler = settledOnA();
    expect(see(settler, 100, {})).toBe(false);
    expect(see(settler, 200, { a: sight(2, 10, 2) })).toBe(false);
    expect(settler.files().has("a")).toBe(true);
    expect(see(settler, 600, { a: sight(2, 10, 2) })).toBe(true);
    see(settler, 700, {});
    expect(see(settler, 1100, {})).toBe(true);
    expect(settler.files().size).toBe(0);
    expect(settler.isAtRest()).toBe(true);
  });

  test("FileSettler does not take one look after a long silence for a rest", () => {
    const settler = settledOnA();
    const note = (nowMs: number, files: [string, FileSight][]) =>
      settler.note({ state: "folder", files: new Map(files), isComplete: true }, { nowMs, wallMs: WALL_MS });
    note(100, [["a", sight(2)]]);
    expect(note(5_000, [["a", sight(2)]])).toBe(false);
    expect(note(5_050, [["a", sight(2)]])).toBe(true);
    note(6_000, []);
    expect(note(9_000, [])).toBe(false);
    expect(note(9_050, [])).toBe(true);
  });

  test("FileSettler keeps what it cannot look at", () => {
    const settler = settledOnA();
    for (const at of [100, 500, 900]) expect(see(settler, at, { a: undefined })).toBe(false);
    expect(settler.note({ state: "folder", files: new Map(), isComplete: false }, { nowMs: 5000, wallMs: 0 })).toBe(
      false,
    );
    expect(settler.files().has("a")).toBe(true);
  });

  test("FileSettler takes a file that never rests as it is in the end", () => {
    const settler = settledOnA();
    let at = 0;
    let version = 1;
    const grow = () => see(settler, (at += 100), { a: sight((version += 1), 10 + version) });
    while (!grow()) expect(at).toBeLessThan(20_000);
    expect(at).toBeGreaterThan(5_000);
  });

  test("FileSettler lets a state rest before it gives it", () => {
    const settler = settledOnA();
    expect(see(settler, 100, { a: sight(1) }, "missing")).toBe(false);
    expect(settler.state()).toBe("folder");
    expect(see(settler, 500, { a: sight(1) }, "missing")).toBe(true);
    expect(settler.state()).toBe("missing");
  });
});
