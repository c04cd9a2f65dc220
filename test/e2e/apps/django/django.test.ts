import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder } from "../../../../scripts/lib/apps/install-app.ts";
import { runToEnd } from "../../../../scripts/lib/ingress-process.ts";
import { startLocalApp } from "../../../support/apps/local-app.ts";
import { tryApp } from "../../../support/apps/try-app.ts";
import { tempDir } from "../../../support/temp-dir.ts";

const PASSWORD = "a-long-enough-one";
/** Its forms are taken with an Origin that equals the Host only. */
const FORM_REFUSED = /^403 POST .*\/admin\/login\//;
/** Neither `localhost` nor in ALLOWED_HOSTS. */
const HOST_REFUSED = /^400 GET .*\/admin\//;

tryApp({
  name: "django",
  async start({ port, basePath }) {
    const folder = tempDir();
    const python = join(cacheFolder("django"), "venv/bin/python");
    const run = async (...words: string[]) => {
      const env = { DJANGO_SUPERUSER_PASSWORD: PASSWORD };
      const { exitCode, stderr } = await runToEnd([python, ...words], { cwd: folder.path, env });
      if (exitCode !== 0) throw new Error(`django ${words[0]} failed: ${stderr}`);
    };
    await run("-m", "django", "startproject", "proof", ".");
    if (basePath !== "") {
      appendFileSync(
        join(folder.path, "proof/settings.py"),
        `\nFORCE_SCRIPT_NAME = ${JSON.stringify(basePath)}\nSTATIC_URL = ${JSON.stringify(`${basePath}/static/`)}\n`,
      );
    }
    await run("manage.py", "migrate");
    await run("manage.py", "createsuperuser", "--noinput", "--username=person", "--email=person@apps.test");
    const server = await startLocalApp({
      name: "django",
      port,
      readyPath: "/admin/login/",
      command: [python, "manage.py", "runserver", "--noreload", `127.0.0.1:${port}`],
      cwd: folder.path,
    });
    return {
      ...server,
      [Symbol.asyncDispose]: async () => {
        await server.stop();
        folder[Symbol.dispose]();
      },
    };
  },
  async use(visit) {
    const page = await visit.open("/admin/");
    await page.click("#id_username");
    await page.type("person");
    await page.click("#id_password");
    await page.type(PASSWORD);
    await page.press("Enter");
    await page.until(
      "document.querySelector('#site-name, #header') !== null && document.title.startsWith('Site admin')",
    );
    await page.until(`location.pathname === ${JSON.stringify(`${visit.place.prefix}/admin/`)}`);
  },
  rows: [
    { form: "direct" },
    { form: "host", fails: FORM_REFUSED },
    { form: "host", settings: { "host-header": "preserve" }, fails: HOST_REFUSED },
    { form: "host", settings: { "origin-header": "upstream" } },
    { form: "host", settings: { "host-header": "localhost", "origin-header": "upstream" } },
    { form: "uri", fails: FORM_REFUSED },
    { form: "uri", settings: { "origin-header": "upstream" } },
    { form: "told", fails: FORM_REFUSED },
    { form: "told", settings: { "origin-header": "upstream" } },
  ],
});
