import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "bun:test";
import { createAccessKeysSource, type AccessKeysSource } from "../../src/access/keys-file.ts";
import { SECRET_FILE_MAX_BYTES } from "../../src/access/secret-file.ts";
import { systemClock } from "../../src/clock.ts";
import { type LogFields, silentLogger } from "../../src/log/logger.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { tempDir } from "../support/temp-dir.ts";

const sources: AccessKeysSource[] = [];
afterEach(() => {
  for (const source of sources.splice(0)) source.stop();
});

/** A source of its own, and what it logs. */
function create(given: { readonly inline?: string; readonly file?: string }) {
  const lines: string[] = [];
  const log = (level: string) => (message: string, fields?: LogFields) =>
    void lines.push(`${level}: ${message} ${JSON.stringify(fields)}`);
  const source = createAccessKeysSource({
    inline: given.inline,
    file: given.file,
    logger: { ...silentLogger, info: log("info"), warn: log("warn"), error: log("error") },
    clock: systemClock,
  });
  sources.push(source);
  return { source, lines };
}

/** The message that a promise rejects with. */
const failureOf = (promise: Promise<void>) =>
  promise.then(
    () => "nothing was thrown",
    (error: unknown) => String(error),
  );

const idsOf = (source: AccessKeysSource) => source.current()?.ids.join("");

describe("createAccessKeysSource", () => {
  test("the source has no keys if none are given", async () => {
    const { source } = create({});
    await source.start();
    expect(source.current()).toBeUndefined();
  });

  test("the source reads keys from the flag, at the start", async () => {
    const { source } = create({ inline: "a=AAECAwQFBgcICQoLDA0ODw==,b=EBESExQVFhcYGRobHB0eHw==" });
    expect(source.current()).toBeUndefined();
    await source.start();
    expect(idsOf(source)).toBe("ab");
  });

  test("the source does not start with an invalid flag, and shows nothing of it", async () => {
    const { source } = create({ inline: "a=U0VDUkVU!" });
    expect(await failureOf(source.start())).toContain(
      'Cannot parse access keys: entry 1 (key id "a") is not valid padded base64',
    );
    expect(source.current()).toBeUndefined();
  });

  test("the source does not start with a file that is missing, a folder, bad or too large", async () => {
    using dir = tempDir();
    const bad = join(dir.path, "bad");
    writeFileSync(bad, "a=U0VDUkVU!");
    const large = join(dir.path, "large");
    writeFileSync(large, "#".repeat(SECRET_FILE_MAX_BYTES + 1));
    const expected: readonly (readonly [string, string])[] = [
      [join(dir.path, "none"), "Cannot read access keys: ENOENT"],
      [dir.path, "is not a file"],
      [bad, "line 1"],
      [large, "is larger than 65536 bytes"],
    ];
    for (const [file, message] of expected) {
      const { source } = create({ file });
      expect(await failureOf(source.start())).toContain(message);
      expect(source.current()).toBeUndefined();
    }
  });

  test("the source warns of short keys from the flag, by id only, and not of others", async () => {
    const { source, lines } = create({ inline: "a=c2hvcnQ=,b=AAECAwQFBgcICQoLDA0ODw==,c=AAECAwQFBgcICQoLDA0O" });
    expect(lines).toEqual([]);
    await source.start();
    expect(lines).toEqual([
      'warn: secure access keys shorter than 16 bytes can be guessed from signed links: use longer ones {"keyIds":"a,c"}',
    ]);
  });

  test("the source warns of short keys from the file at the start, and again for each change that has some", async () => {
    using dir = tempDir();
    const file = join(dir.path, "keys");
    writeFileSync(file, "a=c2hvcnQ=");
    const { source, lines } = create({ file });
    await source.start();
    const warnings = () => lines.filter((line) => line.startsWith("warn:"));
    expect(warnings()).toHaveLength(1);
    expect(warnings()[0]).toEndWith('{"keyIds":"a"}');
    writeFileSync(file, "a=AAECAwQFBgcICQoLDA0ODw==");
    await eventually(() => lines.length === 2);
    expect(warnings()).toHaveLength(1);
    writeFileSync(file, "a=AAECAwQFBgcICQoLDA0ODw==\nb=c2hvcnQ=");
    await eventually(() => warnings().length === 2);
    expect(warnings()[1]).toEndWith('{"keyIds":"b"}');
    expect(lines.join("")).not.toContain("c2hvcnQ=");
  });

  test("the source takes over new keys when its file is rewritten or replaced", async () => {
    using dir = tempDir();
    const file = join(dir.path, "keys");
    writeFileSync(file, "a=AAECAwQFBgcICQoLDA0ODw==\n");
    const { source, lines } = create({ file });
    await source.start();
    expect(idsOf(source)).toBe("a");
    writeFileSync(file, "a=AAECAwQFBgcICQoLDA0ODw==\nb=EBESExQVFhcYGRobHB0eHw==\n");
    await eventually(() => idsOf(source) === "ab");
    writeFileSync(`${file}.new`, "c=AAECAwQFBgcICQoLDA0ODw==");
    renameSync(`${file}.new`, file);
    await eventually(() => idsOf(source) === "c");
    await eventually(() => lines.length === 2);
    expect(lines.at(-1)).toStartWith('info: secure access keys read again {"path":');
    expect(lines.join("")).not.toContain("AAECAwQFBgcICQoLDA0ODw==");
  });

  test("the source takes over new keys when a mounted Secret is swapped", async () => {
    using dir = tempDir();
    const mount = (version: string, text: string) => {
      mkdirSync(join(dir.path, version));
      writeFileSync(join(dir.path, version, "keys"), text);
      symlinkSync(version, join(dir.path, "..data_tmp"));
      renameSync(join(dir.path, "..data_tmp"), join(dir.path, "..data"));
    };
    mount("..1", "a=AAECAwQFBgcICQoLDA0ODw==");
    symlinkSync(join("..data", "keys"), join(dir.path, "keys"));
    const { source } = create({ file: join(dir.path, "keys") });
    await source.start();
    expect(idsOf(source)).toBe("a");
    mount("..2", "b=AAECAwQFBgcICQoLDA0ODw==");
    rmSync(join(dir.path, "..1"), { recursive: true });
    await eventually(() => idsOf(source) === "b");
  });

  test("the source keeps its keys and logs why once when the file becomes invalid, and recovers", async () => {
    using dir = tempDir();
    const file = join(dir.path, "keys");
    writeFileSync(file, "a=AAECAwQFBgcICQoLDA0ODw==");
    const { source, lines } = create({ file });
    await source.start();
    writeFileSync(file, "a=AAECAwQFBgcICQoLDA0ODw==,b=U0VDUkVU!");
    await eventually(() => lines.length === 1);
    expect(lines[0]).toStartWith("error: cannot use the secure access keys file, keeping the earlier keys");
    expect(lines[0]).toContain('line 1 (key id \\"b\\") is not valid padded base64');
    expect(lines[0]).not.toContain("U0VD");
    expect(idsOf(source)).toBe("a");
    rmSync(file);
    await eventually(() => lines.length === 2);
    expect(lines[1]).toContain("ENOENT");
    expect(idsOf(source)).toBe("a");
    writeFileSync(file, "c=AAECAwQFBgcICQoLDA0ODw==");
    await eventually(() => idsOf(source) === "c");
  });

  test("the source logs that a file is valid again, even with the old keys", async () => {
    using dir = tempDir();
    const file = join(dir.path, "keys");
    writeFileSync(file, "a=AAECAwQFBgcICQoLDA0ODw==");
    const { source, lines } = create({ file });
    await source.start();
    writeFileSync(file, "nonsense");
    await eventually(() => lines.length === 1);
    writeFileSync(file, "a=AAECAwQFBgcICQoLDA0ODw==");
    await eventually(() => lines.length === 2);
    expect(lines[1]).toStartWith("info: secure access keys read again");
  });
});
