import { join } from "node:path";
import { cacheFolder, sourceFolder } from "../../../../scripts/lib/apps/install-app.ts";
import { startLocalApp } from "../../../support/apps/local-app.ts";
import { tryApp } from "../../../support/apps/try-app.ts";

/** Its server takes an Origin of localhost or of one of its own addresses only. */
const REFUSED = /^websocket failed .*_stcore\/stream.* 403$/;

tryApp({
  name: "streamlit",
  start: ({ port, basePath }) =>
    startLocalApp({
      name: "streamlit",
      port,
      readyPath: `${basePath}/_stcore/health`,
      command: [
        join(cacheFolder("streamlit"), "venv/bin/python"),
        "-m",
        "streamlit",
        "run",
        join(sourceFolder("streamlit"), "app.py"),
        `--server.port=${port}`,
        "--server.address=127.0.0.1",
        "--server.headless=true",
        "--browser.gatherUsageStats=false",
        "--server.fileWatcherType=none",
        ...(basePath === "" ? [] : [`--server.baseUrlPath=${basePath}`]),
      ],
    }),
  async use(visit) {
    const page = await visit.open("/");
    await page.click("[data-testid=stButton] button");
    await page.until("document.body.innerText.includes('pressed, 42')");
  },
  rows: [
    { form: "direct" },
    { form: "host", fails: REFUSED },
    { form: "host", settings: { "origin-header": "upstream" } },
    { form: "uri", fails: REFUSED },
    { form: "uri", settings: { "origin-header": "upstream" } },
    { form: "keep", fails: REFUSED },
    { form: "keep", settings: { "origin-header": "upstream" } },
  ],
});
