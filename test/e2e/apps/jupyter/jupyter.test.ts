import { join } from "node:path";
import { cacheFolder } from "../../../../scripts/lib/apps/install-app.ts";
import { startLocalApp } from "../../../support/apps/local-app.ts";
import { tryApp } from "../../../support/apps/try-app.ts";
import { tempDir } from "../../../support/temp-dir.ts";

const TOKEN = "apps";
/** Its server takes an Origin that equals its Host only. */
const KERNEL_REFUSED = /^40\d POST .*\/api\/sessions|^websocket failed .*\/api\/kernels\/.* 403$/;
/** Its page opens WebSockets below `/api/`, whatever its own path is. */
const LEFT_PREFIX = /^websocket failed ws:\/\/[^/]+\/api\/events\/subscribe: .* 400$/;

tryApp({
  name: "jupyter",
  async start({ port, basePath }) {
    const home = tempDir();
    const server = await startLocalApp({
      name: "jupyter",
      port,
      readyPath: `${basePath}/api/status?token=${TOKEN}`,
      command: [
        join(cacheFolder("jupyter"), "venv/bin/python"),
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        `--port=${port}`,
        "--ServerApp.port_retries=0",
        `--IdentityProvider.token=${TOKEN}`,
        `--ServerApp.root_dir=${home.path}`,
        "--LabApp.news_url=None",
        // As where it listens for others than this machine, which it has to in a sandbox.
        "--ServerApp.allow_remote_access=True",
        ...(basePath === "" ? [] : [`--ServerApp.base_url=${basePath}/`]),
      ],
      env: { HOME: home.path, JUPYTER_PREFER_ENV_PATH: "1", SHELL: "/bin/sh" },
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
    const page = await visit.open(`/lab?reset&token=${TOKEN}`);
    await page.click('.jp-LauncherCard[data-category="Notebook"]');
    // What is run before the kernel is there can be lost, also without an ingress.
    await page.until("document.body.innerText.includes('(ipykernel) | Idle')");
    await page.click(".jp-Notebook .jp-Cell .cm-content");
    await page.until("document.activeElement?.closest('.jp-Cell') !== null");
    await page.type("print(6 * 7, 'from the kernel')");
    await page.press("Shift+Enter");
    await page.until(
      "document.querySelector('.jp-OutputArea-output')?.innerText.includes('42 from the kernel') === true",
    );

    await page.click('[data-command="launcher:create"]');
    await page.click('.jp-LauncherCard[data-category="Other"][title*="terminal"]');
    await page.untilEvent(/^received \["stdout"/);
    await page.click(".jp-Terminal .xterm-screen");
    await page.type("echo $((6 * 7)) from the terminal");
    await page.press("Enter");
    await page.untilEvent(/^received \["stdout".*42 from the terminal/);
  },
  rows: [
    { form: "direct" },
    { form: "host", fails: KERNEL_REFUSED },
    { form: "host", settings: { "host-header": "preserve" } },
    { form: "host", settings: { "origin-header": "upstream" } },
    { form: "host", settings: { "host-header": "localhost", "origin-header": "upstream" } },
    { form: "uri", settings: { "origin-header": "upstream" }, fails: LEFT_PREFIX },
    { form: "keep", fails: KERNEL_REFUSED },
    { form: "keep", settings: { "origin-header": "upstream" } },
  ],
});
