import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder, sourceFolder } from "../../../../scripts/lib/apps/install-app.ts";
import { eventually } from "../../../../scripts/lib/eventually.ts";
import { startLocalApp } from "../../../support/apps/local-app.ts";
import { tryApp, type RunningApp } from "../../../support/apps/try-app.ts";

/** Between two attempts to save a file, in milliseconds: longer than an update takes. */
const SAVE_AGAIN_MS = 2_000;
/** Until an update is in the page, in milliseconds. */
const UPDATE_MAX_MS = 60_000;

interface NextApp extends RunningApp {
  /** Changes a module that the page shows the text of. */
  writeMessage(text: string): void;
}

/** Its hot updates are for an Origin of `localhost`, or one in `allowedDevOrigins`. */
const ORIGIN_REFUSED = /^websocket failed .*\/_next\/(?:webpack-hmr|hmr)/;
/** The page opens its WebSocket below `/_next/`, whatever its own path is, and React waits for it. */
const LEFT_PREFIX = /^websocket failed ws:\/\/[^/]+\/_next\/(?:webpack-hmr|hmr).* 400$/;

tryApp<NextApp>({
  name: "nextjs",
  async start({ port, basePath }) {
    // Its bundler compares real paths.
    const cache = realpathSync(cacheFolder("nextjs"));
    mkdirSync(join(cache, "projects"), { recursive: true });
    // Below its dependencies, where its bundler looks for them.
    const project = mkdtempSync(join(cache, "projects/"));
    cpSync(join(sourceFolder("nextjs"), "project"), project, { recursive: true });
    const config = { turbopack: { root: cache }, devIndicators: false, ...(basePath === "" ? {} : { basePath }) };
    writeFileSync(join(project, "next.config.mjs"), `export default ${JSON.stringify(config)};\n`);
    const writeMessage = (text: string) =>
      writeFileSync(
        join(project, "app/message.js"),
        `export const message = ${JSON.stringify(text)};\n// ${crypto.randomUUID()}\n`,
      );
    writeMessage("first");
    const server = await startLocalApp({
      name: "nextjs",
      port,
      readyPath: `${basePath}/`,
      command: [
        "node",
        join(cache, "node_modules/next/dist/bin/next"),
        "dev",
        project,
        "--hostname=127.0.0.1",
        `--port=${port}`,
      ],
      env: { NEXT_TELEMETRY_DISABLED: "1" },
    });
    return {
      ...server,
      writeMessage,
      [Symbol.asyncDispose]: async () => {
        await server.stop();
        rmSync(project, { recursive: true, force: true });
      },
    };
  },
  async use(visit, app) {
    app.writeMessage("first");
    const page = await visit.open("");
    await page.until("document.querySelector('#message')?.textContent === 'first'");
    await page.untilEvent(/^websocket 101 .*\/_next\//);
    // It counts once React has the page.
    await page.until(
      "(document.querySelector('button')?.click(), Number(document.querySelector('button')?.textContent) > 0)",
    );
    // It misses changes that come soon after its start, also without an ingress: then a person saves again.
    await eventually(
      async () => {
        app.writeMessage("second");
        await Bun.sleep(SAVE_AGAIN_MS);
        return (await page.evaluate("document.querySelector('#message')?.textContent")) === "second";
      },
      { maxMs: UPDATE_MAX_MS },
    );
  },
  rows: [
    { form: "direct" },
    { form: "host", fails: ORIGIN_REFUSED },
    { form: "host", settings: { "host-header": "preserve" }, fails: ORIGIN_REFUSED },
    { form: "host", settings: { "origin-header": "upstream" } },
    { form: "host", settings: { "host-header": "localhost", "origin-header": "upstream" } },
    { form: "uri", settings: { "origin-header": "upstream" }, fails: LEFT_PREFIX },
    { form: "keep", fails: ORIGIN_REFUSED },
    { form: "keep", settings: { "origin-header": "upstream" } },
  ],
});
