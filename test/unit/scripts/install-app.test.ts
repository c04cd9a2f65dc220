import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { installPins } from "../../../scripts/lib/apps/install-app.ts";
import { tempDir } from "../../support/temp-dir.ts";

/** Installs by this script; tells how often it began, and whether it did it. */
async function install(script: string, options: { maxMs?: number } = {}): Promise<{ begun: number; error?: string }> {
  using source = tempDir();
  using target = tempDir();
  const begun = join(source.path, "begun");
  writeFileSync(begun, "");
  writeFileSync(join(source.path, "build.sh"), `echo x >> '${begun}'; tries=$(wc -l < '${begun}')\n${script}\n`);
  const folder = join(target.path, "app");
  const count = () => readFileSync(begun, "utf8").split("\n").length - 1;
  try {
    await installPins(source.path, folder, options);
    expect(existsSync(join(folder, "done"))).toBe(true);
    expect(existsSync(join(folder, "half"))).toBe(false);
    return { begun: count() };
  } catch (error) {
    return { begun: count(), error: String(error) };
  }
}

describe("installPins", () => {
  test("installs once what succeeds", async () => {
    expect(await install("touch done")).toEqual({ begun: 1 });
  });

  test("tries once more, from an empty folder, what fails for a moment", async () => {
    expect(await install('[ "$tries" -gt 1 ] || { touch half; exit 1; }; touch done')).toEqual({ begun: 2 });
  });

  test("throws when the second attempt fails, too", async () => {
    expect(await install("exit 1")).toEqual({ begun: 2, error: "Error: cannot run bash build.sh" });
  });

  test("kills an attempt at its limit, with all that it started", async () => {
    const { error } = await install("sleep 1000 & wait", { maxMs: 300 });
    expect(error).toContain("not installed after 0.3 s");
  });
});
