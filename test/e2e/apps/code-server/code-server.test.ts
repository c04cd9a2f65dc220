import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder, nodeProgram } from "../../../../scripts/lib/apps/install-app.ts";
import { eventually } from "../../../../scripts/lib/eventually.ts";
import { startLocalApp } from "../../../support/apps/local-app.ts";
import { tryApp, type RunningApp } from "../../../support/apps/try-app.ts";
import { tempDir } from "../../../support/temp-dir.ts";

const PASSWORD = "a-long-enough-one";
/** Until what was typed is in a file, in milliseconds. */
const SAVED_MAX_MS = 60_000;
/** It takes an Origin that equals X-Forwarded-Host only. */
const ORIGIN_REFUSED = /^websocket failed .* 403$/;
/** What would ask a person before anything else. */
const SETTINGS = {
  "files.autoSave": "afterDelay",
  "security.workspace.trust.enabled": false,
  "workbench.startupEditor": "none",
  "chat.disableAIFeatures": true,
  "terminal.integrated.defaultProfile.linux": "sh",
  "terminal.integrated.profiles.linux": { sh: { path: "/bin/sh" } },
};

interface Editor extends RunningApp {
  /** The folder that it shows. */
  readonly folder: string;
}

tryApp<Editor>({
  name: "code-server",
  // Without it a page has no service workers, which its views need.
  needsTls: true,
  async start({ port }) {
    const home = tempDir();
    const folder = join(home.path, "project");
    const settings = join(home.path, "data/User");
    mkdirSync(folder);
    mkdirSync(settings, { recursive: true });
    writeFileSync(join(settings, "settings.json"), JSON.stringify(SETTINGS));
    const server = await startLocalApp({
      name: "code-server",
      port,
      readyPath: "/healthz",
      command: [
        nodeProgram("code-server"),
        join(cacheFolder("code-server"), "node_modules/code-server/out/node/entry.js"),
        `--bind-addr=127.0.0.1:${port}`,
        "--auth=password",
        "--disable-telemetry",
        "--disable-update-check",
        `--user-data-dir=${join(home.path, "data")}`,
        `--extensions-dir=${join(home.path, "extensions")}`,
      ],
      env: { HOME: home.path, PASSWORD, XDG_CONFIG_HOME: join(home.path, "config") },
      cwd: home.path,
    });
    return {
      ...server,
      folder,
      [Symbol.asyncDispose]: async () => {
        await server.stop();
        home[Symbol.dispose]();
      },
    };
  },
  async use(visit, app) {
    const file = join(app.folder, "text.txt");
    const proof = join(app.folder, "proof.txt");
    writeFileSync(file, "first\n");
    writeFileSync(proof, "");
    const untilFile = (path: string, text: string) =>
      eventually(() => readFileSync(path, "utf8").includes(text), { maxMs: SAVED_MAX_MS });

    const page = await visit.open(`/?folder=${encodeURIComponent(app.folder)}`);
    await page.click("input[name=password]");
    await page.type(PASSWORD);
    await page.press("Enter");
    await page.click(".explorer-folders-view [aria-label^='text.txt']");
    await page.until("document.querySelector('.monaco-editor .view-lines')?.innerText.includes('first') === true");
    await page.click(".monaco-editor .view-line");
    await page.type("typed here ");
    await untilFile(file, "typed here");

    await page.press("F1");
    await page.until("document.activeElement?.closest('.quick-input-widget') !== null");
    await page.type("Terminal: Create New Terminal");
    await page.until(
      "document.querySelector('.quick-input-list .focused')?.innerText.includes('Create New Terminal') === true",
    );
    await page.press("Enter");
    await page.until("document.activeElement?.classList.contains('xterm-helper-textarea') === true");
    await page.type("echo $((6 * 7)) from the terminal > proof.txt");
    await page.press("Enter");
    await untilFile(proof, "42 from the terminal");
  },
  rows: [
    { form: "direct" },
    { form: "host" },
    { form: "host", settings: { "host-header": "preserve" } },
    { form: "host", settings: { "origin-header": "upstream" }, fails: ORIGIN_REFUSED },
    { form: "uri" },
    { form: "uri", settings: { "origin-header": "upstream" }, fails: ORIGIN_REFUSED },
  ],
});
