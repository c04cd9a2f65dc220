import { join } from "node:path";
import { cacheFolder, sourceFolder } from "../../../../scripts/lib/apps/install-app.ts";
import { startLocalApp } from "../../../support/apps/local-app.ts";
import { tryApp } from "../../../support/apps/try-app.ts";

tryApp({
  name: "gradio",
  start: ({ port, basePath }) =>
    startLocalApp({
      name: "gradio",
      port,
      readyPath: "/config",
      command: [join(cacheFolder("gradio"), "venv/bin/python"), join(sourceFolder("gradio"), "app.py")],
      env: { PORT: String(port), BASE_PATH: basePath, GRADIO_ANALYTICS_ENABLED: "False", HF_HUB_OFFLINE: "1" },
    }),
  async use(visit) {
    const page = await visit.open("/");
    await page.click("#name textarea, #name input");
    await page.type("person");
    await page.click("#greet");
    await page.until("document.querySelector('#said textarea, #said input')?.value === 'hello person'");
  },
  rows: [
    { form: "direct" },
    { form: "host" },
    { form: "host", settings: { "host-header": "preserve" } },
    { form: "host", settings: { "origin-header": "upstream" } },
    { form: "uri" },
    { form: "uri", settings: { "origin-header": "upstream" } },
    { form: "told" },
    { form: "told", settings: { "origin-header": "upstream" } },
  ],
});
