import { expect } from "bun:test";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder, sourceFolder } from "../../../../scripts/lib/apps/install-app.ts";
import { startChromium } from "../../../../scripts/lib/browser/chromium.ts";
import { toRecord } from "../../../../scripts/lib/browser/cdp-client.ts";
import { runClient } from "../../../support/apps/run-client.ts";
import { tryApp, type RunningApp, type Visit } from "../../../support/apps/try-app.ts";

interface BrowserApp extends RunningApp {
  /** Path of the connection for the whole browser. */
  readonly debuggerPath: string;
}

async function connect(visit: Visit, endpoint: string, headers: Readonly<Record<string, string>> = {}): Promise<void> {
  const script = join(cacheFolder("cdp"), "connect.mjs");
  copyFileSync(join(sourceFolder("cdp"), "connect.mjs"), script);
  const told = await runClient(visit, { command: ["node", script, endpoint, JSON.stringify(headers)] });
  expect(told.trim()).toBe("button: pressed, picture: PNG");
}

/** Playwright asks `/json/version/` for the address of the WebSocket. */
async function discover(visit: Visit): Promise<void> {
  const { origin, prefix } = visit.place;
  const base = origin + prefix;
  await expectOwnAddress(visit, base, {});
  await connect(visit, base);
}

/** The same by the address of the ingress, with the sandbox in a header. */
async function discoverByAddress(visit: Visit): Promise<void> {
  const { origin, headers } = visit.place.headerRoute;
  await expectOwnAddress(visit, origin, headers);
  await connect(visit, origin, headers);
}

/** Chromium makes the address in its answer from the Host that it sees. On this machine a client could reach it all the same. */
async function expectOwnAddress(visit: Visit, base: string, headers: Readonly<Record<string, string>>): Promise<void> {
  const program = `fetch(process.argv[1], { headers: JSON.parse(process.argv[2]) }).then(async (answer) => {
    const text = await answer.text();
    console.log(answer.ok ? JSON.parse(text).webSocketDebuggerUrl : answer.status + " " + text);
  })`;
  const told = await runClient(visit, {
    command: ["node", "--eval", program, `${base}/json/version`, JSON.stringify(headers)],
  });
  expect(told.trim()).toStartWith(base.replace("http", "ws"));
}

/** The address of the WebSocket is known. */
async function useWebSocketUrl(visit: Visit, app: BrowserApp): Promise<void> {
  const { origin, prefix } = visit.place;
  await connect(visit, `${origin.replace("http", "ws")}${prefix}${app.debuggerPath}`);
}

/** What `/json/version` names is the address that the browser itself has. */
const NAMES_SANDBOX = /^ws:\/\/127\.0\.0\.1:\d+\/devtools/;
/** Chromium takes an Origin of its own address only. */
const ORIGIN_REFUSED = /^websocket failed ws:.* 403$/;
const HOST_REFUSED = /^500 Host header is specified and is not an IP address or localhost/;

/** It is no server below a path. */
async function start(): Promise<BrowserApp> {
  const chromium = await startChromium();
  return {
    port: chromium.port,
    debuggerPath: new URL(chromium.debuggerUrl).pathname,
    readOutput: () => "",
    [Symbol.asyncDispose]: () => chromium[Symbol.asyncDispose](),
  };
}

/** Where an expression finds the text of a page, also in the shadow trees that this one is made of. */
const ALL_TEXT = `(function read(node) {
  const inside = [...node.childNodes].map(read).join(" ");
  return (node.shadowRoot ? read(node.shadowRoot) : "") + (node.nodeType === 3 ? node.data : "") + inside;
})(document.body)`;

/** Chromium serves a page that inspects another one: over a WebSocket, whose address is in a parameter. */
async function inspect(visit: Visit, app: BrowserApp): Promise<void> {
  const inspected = `data:text/html,<h1 id="from-${crypto.randomUUID()}">inspected</h1>`;
  const opened = await fetch(`http://127.0.0.1:${app.port}/json/new?${encodeURIComponent(inspected)}`, {
    method: "PUT",
  });
  const { id } = toRecord(await opened.json());
  const { origin, prefix } = visit.place;
  const socket = `${origin.slice("http://".length)}${prefix}/devtools/page/${String(id)}`;
  const page = await visit.open(`/devtools/inspector.html?ws=${socket}`);
  const heading = /id="(.*?)"/.exec(inspected)?.[1];
  await page.until(`${ALL_TEXT}.includes(${JSON.stringify(heading)})`);
}

tryApp<BrowserApp>({
  name: "cdp",
  start,
  use: useWebSocketUrl,
  rows: [
    { form: "direct", use: discover },
    { form: "direct" },
    { form: "host" },
    { form: "host", use: discover, fails: NAMES_SANDBOX },
    { form: "host", settings: { "host-header": "preserve" }, use: discover, fails: HOST_REFUSED },
    { form: "host", settings: { "host-header": "preserve" }, use: discoverByAddress },
    { form: "uri" },
    { form: "uri", use: discover, fails: NAMES_SANDBOX },
  ],
});

tryApp<BrowserApp>({
  name: "cdp",
  title: "Chrome's DevTools page",
  // It takes `crypto.randomUUID`.
  needsTls: true,
  start,
  use: inspect,
  rows: [
    { form: "direct" },
    { form: "host", fails: ORIGIN_REFUSED },
    { form: "host", settings: { "origin-header": "upstream" } },
    { form: "host", settings: { "host-header": "localhost", "origin-header": "upstream" }, fails: ORIGIN_REFUSED },
    { form: "uri", fails: ORIGIN_REFUSED },
    { form: "uri", settings: { "origin-header": "upstream" } },
  ],
});
