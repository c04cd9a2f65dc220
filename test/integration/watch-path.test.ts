import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync, appendFileSync } from "node:fs";
import { basename, join } from "node:path";
import { afterEach, describe, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { silentLogger } from "../../src/log/logger.ts";
import { type PathSnapshot, type PathWatch, watchPath } from "../../src/files/watch-path.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { tempDir } from "../support/temp-dir.ts";

const watches: PathWatch[] = [];
afterEach(() => {
  for (const watch of watches.splice(0)) watch.stop();
});

/** Watches a path and keeps what a reader would have read at each call. */
function reader(path: string, accept?: (name: string) => boolean) {
  const seen = {
    calls: 0,
    state: "" as PathSnapshot["state"] | "",
    contents: {} as Record<string, string>,
    all: [] as string[],
  };
  const onChange = (snapshot: PathSnapshot) => {
    seen.calls += 1;
    seen.state = snapshot.state;
    seen.contents = Object.fromEntries(
      [...snapshot.files.keys()].map((file) => [basename(file), readFileSync(file, "utf8")]),
    );
    seen.all.push(...Object.values(seen.contents));
  };
  const watch = watchPath(path, {
    onChange,
    logger: silentLogger,
    clock: systemClock,
    ...(accept === undefined ? {} : { accept }),
  });
  watches.push(watch);
  return seen;
}

const started = (seen: { calls: number }) => eventually(() => seen.calls > 0);

describe("watchPath", () => {
  test("watchPath reports a file at the start, when it is rewritten, replaced, removed and made again", async () => {
    using dir = tempDir();
    const path = join(dir.path, "keys");
    writeFileSync(path, "one");
    const seen = reader(path);
    await eventually(() => seen.contents["keys"] === "one");
    expect(seen.state).toBe("file");
    writeFileSync(path, "two");
    await eventually(() => seen.contents["keys"] === "two");
    writeFileSync(join(dir.path, "keys.tmp"), "three");
    renameSync(join(dir.path, "keys.tmp"), path);
    await eventually(() => seen.contents["keys"] === "three");
    rmSync(path);
    await eventually(() => seen.state === "missing");
    expect(seen.contents).toEqual({});
    writeFileSync(path, "four");
    await eventually(() => seen.contents["keys"] === "four");
  });

  test("watchPath follows a mounted ConfigMap, whose ..data is swapped, as folder and as single file", async () => {
    using dir = tempDir();
    const version = (name: string, content: string) => {
      mkdirSync(join(dir.path, name));
      writeFileSync(join(dir.path, name, "a.yaml"), content);
      symlinkSync(name, join(dir.path, "..data_tmp"));
      renameSync(join(dir.path, "..data_tmp"), join(dir.path, "..data"));
    };
    version("..2026_01", "one");
    symlinkSync("..data/a.yaml", join(dir.path, "a.yaml"));
    const folder = reader(dir.path, (name) => name.endsWith(".yaml"));
    const file = reader(join(dir.path, "a.yaml"));
    await eventually(() => folder.contents["a.yaml"] === "one" && file.contents["a.yaml"] === "one");
    version("..2026_02", "two");
    rmSync(join(dir.path, "..2026_01"), { recursive: true });
    await eventually(() => folder.contents["a.yaml"] === "two" && file.contents["a.yaml"] === "two");
  });

  test("watchPath never shows a file that is being written in pieces", async () => {
    using dir = tempDir();
    const path = join(dir.path, "a.yaml");
    writeFileSync(path, "old\n");
    const seen = reader(dir.path);
    await eventually(() => seen.contents["a.yaml"] === "old\n");
    writeFileSync(path, "");
    for (let line = 0; line < 10; line += 1) {
      await Bun.sleep(60); // the pace of a slow writer, which is what the test is about
      appendFileSync(path, `line ${line}\n`);
    }
    const whole = readFileSync(path, "utf8");
    await eventually(() => seen.contents["a.yaml"] === whole);
    expect(new Set(seen.all)).toEqual(new Set(["old\n", whole]));
  });

  test("watchPath waits for a folder that does not exist yet, and survives its being replaced", async () => {
    using dir = tempDir();
    const path = join(dir.path, "manifests");
    const seen = reader(path);
    await started(seen);
    expect(seen.state).toBe("missing");
    mkdirSync(path);
    writeFileSync(join(path, "a"), "one");
    await eventually(() => seen.contents["a"] === "one");
    mkdirSync(join(dir.path, "next"));
    writeFileSync(join(dir.path, "next", "a"), "two");
    renameSync(path, join(dir.path, "old"));
    renameSync(join(dir.path, "next"), path);
    await eventually(() => seen.contents["a"] === "two");
    writeFileSync(join(path, "b"), "three");
    await eventually(() => seen.contents["b"] === "three");
  });

  test("watchPath sees a change of a linked file", async () => {
    using dir = tempDir();
    using elsewhere = tempDir();
    writeFileSync(join(elsewhere.path, "real"), "one");
    symlinkSync(join(elsewhere.path, "real"), join(dir.path, "a"));
    const seen = reader(dir.path);
    await eventually(() => seen.contents["a"] === "one");
    writeFileSync(join(elsewhere.path, "real"), "two");
    await eventually(() => seen.contents["a"] === "two");
  });

  test("watchPath continues after a reader that throws, logs it, and is silent after stop", async () => {
    using dir = tempDir();
    const errors: string[] = [];
    let calls = 0;
    const watch = watchPath(dir.path, {
      onChange: () => {
        calls += 1;
        throw new Error("broken reader");
      },
      logger: { ...silentLogger, error: (message) => errors.push(message) },
      clock: systemClock,
    });
    await eventually(() => calls === 1);
    writeFileSync(join(dir.path, "a"), "one");
    await eventually(() => calls === 2);
    expect(errors).toHaveLength(2);
    watch.stop();
    watch.stop();
    const witness = reader(dir.path);
    writeFileSync(join(dir.path, "b"), "two");
    await eventually(() => witness.contents["b"] === "two");
    expect(calls).toBe(2);
  });
});
