import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder, sourceFolder } from "../../../../scripts/lib/apps/install-app.ts";
import { startLocalApp } from "../../../support/apps/local-app.ts";
import { tryApp, type RunningApp, type Visit } from "../../../support/apps/try-app.ts";
import type { Page } from "../../../../scripts/lib/browser/page.ts";
import { tempDir } from "../../../support/temp-dir.ts";

interface ViteApp extends RunningApp {
  /** Changes a module that the page shows the text of. */
  writeMessage(text: string): void;
}

/** A name that is neither `localhost` nor in `server.allowedHosts`. */
const HOST_REFUSED = /^403 GET /;
/** The page opens its WebSocket at `/`, whatever its own path is. */
const LEFT_PREFIX = /^websocket failed ws:\/\/[^/]+\/\?token=.* 400$/;

/** The page shows its text; without updates. */
async function seePage(visit: Visit, app: ViteApp): Promise<Page> {
  app.writeMessage("first");
  const page = await visit.open("/");
  await page.until("document.querySelector('#message')?.textContent === 'first'");
  return page;
}

tryApp<ViteApp>({
  name: "vite",
  async start({ port, basePath }) {
    const project = tempDir();
    for (const file of ["index.html", "main.js"])
      copyFileSync(join(sourceFolder("vite"), file), join(project.path, file));
    const writeMessage = (text: string) =>
      writeFileSync(join(project.path, "message.js"), `export const message = ${JSON.stringify(text)};\n`);
    writeMessage("first");
    const server = await startLocalApp({
      name: "vite",
      port,
      readyPath: `${basePath}/`,
      command: [
        "node",
        join(cacheFolder("vite"), "node_modules/vite/bin/vite.js"),
        project.path,
        "--host=127.0.0.1",
        `--port=${port}`,
        "--strictPort",
        `--base=${basePath}/`,
      ],
    });
    return {
      ...server,
      writeMessage,
      [Symbol.asyncDispose]: async () => {
        await server.stop();
        project[Symbol.dispose]();
      },
    };
  },
  async use(visit, app) {
    const page = await seePage(visit, app);
    // The hot update comes over a WebSocket, and into the page that is there.
    await page.untilEvent(/^received .*"connected"/);
    await page.evaluate("globalThis.isSamePage = true");
    app.writeMessage("second");
    await page.until("document.querySelector('#message')?.textContent === 'second' && globalThis.isSamePage === true");
  },
  rows: [
    { form: "direct" },
    { form: "host" },
    { form: "host", settings: { "host-header": "preserve" }, fails: HOST_REFUSED },
    { form: "host", settings: { "host-header": "localhost", "origin-header": "upstream" } },
    { form: "uri", fails: LEFT_PREFIX },
    { form: "uri", use: seePage, letter: "page" },
    { form: "keep" },
  ],
});
