import { join } from "node:path";
import { cacheFolder } from "../../../../scripts/lib/apps/install-app.ts";
import { startLocalApp } from "../../../support/apps/local-app.ts";
import { tryApp } from "../../../support/apps/try-app.ts";

/** The upgrader takes an Origin that equals the Host only. */
const ORIGIN_REFUSED = /^websocket failed .*\/pages\/socket.* 403$/;

tryApp({
  name: "gorilla",
  start: ({ port }) =>
    startLocalApp({
      name: "gorilla",
      port,
      readyPath: "/ready",
      command: [join(cacheFolder("gorilla"), "bin/server"), `127.0.0.1:${port}`],
    }),
  async use(visit) {
    const page = await visit.open("/start");
    const landed = `${visit.place.origin}${visit.place.prefix}/pages/landed`;
    await page.until(`location.href === ${JSON.stringify(landed)}`);
    await page.until("document.querySelector('#said')?.textContent === 'echo: hello'");
  },
  rows: [
    { form: "direct" },
    { form: "host", fails: ORIGIN_REFUSED },
    { form: "host", settings: { "host-header": "preserve" } },
    { form: "host", settings: { "origin-header": "upstream" } },
    { form: "host", settings: { "host-header": "localhost", "origin-header": "upstream" } },
    { form: "uri", fails: ORIGIN_REFUSED },
    { form: "uri", settings: { "host-header": "preserve" } },
    { form: "uri", settings: { "origin-header": "upstream" } },
  ],
});
