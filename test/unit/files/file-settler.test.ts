import { describe, expect, test } from "bun:test";
import { FileSettler, type FileStamp } from "../../../src/files/file-settler.ts";

const WALL_MS = 1_000_000;

function stamp(version: number, size = 10, inode = 1): FileStamp {
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
  expect(addViews(settler, 0, { a: stamp(1) })).toBe(true);
  return settler;
}

/** Adds three equal views, as at the end of a rest. Returns whether anything changed. */
function addViews(
  settler: FileSettler<string>,
  nowMs: number,
  files: Record<string, FileStamp | undefined>,
  state = "folder",
) {
  const view = { state, files: new Map(Object.entries(files)), isComplete: true };
  return [1, 2, 3].map(() => settler.note(view, { nowMs, wallMs: WALL_MS + nowMs })).includes(true);
}

describe("FileSettler", () => {
  test("FileSettler reports an old file at the first view, and a fresh one after it has rested", () => {
    const settler = new FileSettler<string>();
    const fresh = { ...stamp(1), modifiedMs: WALL_MS - 10 };
    expect(addViews(settler, 0, { old: stamp(1), fresh })).toBe(true);
    expect([...settler.files().keys()]).toEqual(["old"]);
    expect(settler.isAtRest()).toBe(false);
    expect(addViews(settler, 400, { old: stamp(1), fresh })).toBe(true);
    expect([...settler.files().keys()]).toEqual(["old", "fresh"]);
    expect(settler.isAtRest()).toBe(true);
  });

  test("FileSettler shows the old file until the writer has paused, and waits again after each write", () => {
    const settler = settledOnA();
    for (let step = 1; step <= 8; step += 1)
      expect(addViews(settler, step * 200, { a: stamp(step + 1, 10 + step) })).toBe(false);
    expect(settler.files().get("a")).toBe("1:10:1");
    expect(addViews(settler, 1600 + 399, { a: stamp(9, 18) })).toBe(false);
    expect(addViews(settler, 1600 + 400, { a: stamp(9, 18) })).toBe(true);
    expect(settler.files().get("a")).toBe("1:18:9");
  });

  test("FileSettler waits longer for a file that became shorter in place, not for one that was replaced", () => {
    const cut = settledOnA();
    addViews(cut, 100, { a: stamp(2, 4) });
    expect(addViews(cut, 500, { a: stamp(2, 4) })).toBe(false);
    expect(addViews(cut, 700, { a: stamp(2, 4) })).toBe(true);
    const replaced = settledOnA();
    addViews(replaced, 100, { a: stamp(2, 4, 2) });
    expect(addViews(replaced, 500, { a: stamp(2, 4, 2) })).toBe(true);
  });

  test("FileSettler forgets a file that stays missing, but not one that reappears", () => {
    const settler = settledOnA();
    expect(addViews(settler, 100, {})).toBe(false);
    expect(addViews(settler, 200, { a: stamp(2, 10, 2) })).toBe(false);
    expect(settler.files().has("a")).toBe(true);
    expect(addViews(settler, 600, { a: stamp(2, 10, 2) })).toBe(true);
    addViews(settler, 700, {});
    expect(addViews(settler, 1100, {})).toBe(true);
    expect(settler.files().size).toBe(0);
    expect(settler.isAtRest()).toBe(true);
  });

  test("FileSettler does not take one view after a long pause for rest", () => {
    const settler = settledOnA();
    const note = (nowMs: number, files: [string, FileStamp][]) =>
      settler.note({ state: "folder", files: new Map(files), isComplete: true }, { nowMs, wallMs: WALL_MS });
    note(100, [["a", stamp(2)]]);
    expect(note(5_000, [["a", stamp(2)]])).toBe(false);
    expect(note(5_050, [["a", stamp(2)]])).toBe(true);
    note(6_000, []);
    expect(note(9_000, [])).toBe(false);
    expect(note(9_050, [])).toBe(true);
  });

  test("FileSettler keeps a file whose stat fails", () => {
    const settler = settledOnA();
    for (const at of [100, 500, 900]) expect(addViews(settler, at, { a: undefined })).toBe(false);
    expect(settler.note({ state: "folder", files: new Map(), isComplete: false }, { nowMs: 5000, wallMs: 0 })).toBe(
      false,
    );
    expect(settler.files().has("a")).toBe(true);
  });

  test("FileSettler reports a file that never rests after a limit", () => {
    const settler = settledOnA();
    let at = 0;
    let version = 1;
    const grow = () => addViews(settler, (at += 100), { a: stamp((version += 1), 10 + version) });
    while (!grow()) expect(at).toBeLessThan(20_000);
    expect(at).toBeGreaterThan(5_000);
  });

  test("FileSettler lets a state rest before it gives it", () => {
    const settler = settledOnA();
    expect(addViews(settler, 100, { a: stamp(1) }, "missing")).toBe(false);
    expect(settler.state()).toBe("folder");
    expect(addViews(settler, 500, { a: stamp(1) }, "missing")).toBe(true);
    expect(settler.state()).toBe("missing");
  });
});
