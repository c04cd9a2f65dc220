import { join } from "node:path";
import { cacheFolder } from "../../../../scripts/lib/apps/install-app.ts";
import { startLocalApp } from "../../../support/apps/local-app.ts";
import { tryApp, type AppStart, type RunningApp, type Visit } from "../../../support/apps/try-app.ts";
import type { Page } from "../../../../scripts/lib/browser/page.ts";

/** The upgrader takes an Origin that equals the Host only. */
const ORIGIN_REFUSED = /^websocket failed .*\/pages\/socket.* 403$/;

function start({ port }: AppStart): Promise<RunningApp> {
  return startLocalApp({
    name: "gorilla",
    port,
    readyPath: "/ready",
    command: [join(cacheFolder("gorilla"), "bin/server"), `127.0.0.1:${port}`],
  });
}

async function followRedirect(visit: Visit): Promise<Page> {
  const page = await visit.open("/start");
  const landed = `${visit.place.origin}${visit.place.prefix}/pages/landed`;
  await page.until(`location.href === ${JSON.stringify(landed)}`);
  return page;
}

tryApp({
  name: "gorilla",
  title: "absolute redirects",
  start,
  use: followRedirect,
  rows: [
    { form: "direct" },
    { form: "host" },
    { form: "host", settings: { "host-header": "preserve" } },
    { form: "host", settings: { "host-header": "localhost", "origin-header": "upstream" } },
    { form: "uri" },
    { form: "uri", settings: { "host-header": "preserve" } },
  ],
});

tryApp({
  name: "gorilla",
  title: "gorilla/websocket",
  start,
  async use(visit) {
    const page = await followRedirect(visit);
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
