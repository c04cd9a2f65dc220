import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder, nodeProgram } from "../../../../scripts/lib/apps/install-app.ts";
import { startLocalApp } from "../../../support/apps/local-app.ts";
import { tryApp } from "../../../support/apps/try-app.ts";
import { tempDir } from "../../../support/temp-dir.ts";

tryApp({
  name: "wetty",
  upgradesToTls: true,
  async start({ port, basePath }) {
    const home = tempDir();
    // It lets people in by ssh. This one lets them in here, so that nobody needs an account.
    writeFileSync(join(home.path, "ssh"), "#!/bin/sh\nexec sh -i\n", { mode: 0o755 });
    const server = await startLocalApp({
      name: "wetty",
      port,
      readyPath: basePath === "" ? "/" : basePath,
      command: [
        nodeProgram("wetty"),
        join(cacheFolder("wetty"), "node_modules/wetty/build/main.js"),
        "--host=127.0.0.1",
        `--port=${port}`,
        `--base=${basePath}/`,
        "--force-ssh",
        "--ssh-user=person",
      ],
      env: { HOME: home.path, PATH: `${home.path}:${process.env["PATH"]}`, NODE_ENV: "production" },
      cwd: home.path,
    });
    return {
      ...server,
      [Symbol.asyncDispose]: async () => {
        await server.stop();
        home[Symbol.dispose]();
      },
    };
  },
  async use(visit) {
    const page = await visit.open(visit.place.prefix === "" ? "/" : "");
    // It begins with requests, and goes on over the WebSocket after its probe.
    await page.untilEvent(/^websocket 101 .*\/socket\.io\//);
    await page.untilEvent(/^received 3probe/);
    await page.click("#terminal .xterm-screen");
    await page.type("echo $((6 * 7)) from the terminal");
    await page.press("Enter");
    await page.untilEvent(/^received .*42 from the terminal/);
  },
  rows: [
    { form: "direct" },
    { form: "host" },
    { form: "host", settings: { "host-header": "preserve" } },
    { form: "host", settings: { "origin-header": "upstream" } },
    { form: "uri" },
    { form: "keep" },
  ],
});
