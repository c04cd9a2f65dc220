import { spawnSync } from "bun";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { execPath } from "node:process";

/** In the order in which they apply. */
const STYLES = ["base.css", "controls.css", "parts.css"] as const;

/**
 * The dashboard's files, as text. This runs as a macro in Bun's parser, so the binary has the texts but neither this
 * function nor the sources. Another Bun process makes the script, since the bundler waits for macros. Throws with the
 * bundler's message.
 */
export function readDashboardFiles() {
  const folder = join(import.meta.dir, "dashboard");
  const read = (name: string): string => readFileSync(join(folder, name), "utf8");
  const bundled = spawnSync(
    [
      execPath,
      "build",
      join(folder, "main.tsx"),
      "--target=browser",
      "--format=esm",
      "--minify",
      '--define=process.env.NODE_ENV="production"',
    ],
    { cwd: folder, env: {} },
  );
  if (bundled.exitCode !== 0) throw new Error(`cannot bundle the dashboard: ${bundled.stderr.toString()}`);
  return {
    page: { text: read("page.html"), type: "text/html; charset=utf-8" },
    script: { text: bundled.stdout.toString(), type: "text/javascript; charset=utf-8" },
    style: { text: STYLES.map(read).join("\n"), type: "text/css; charset=utf-8" },
    icon: { text: read("icon.svg"), type: "image/svg+xml" },
  };
}
