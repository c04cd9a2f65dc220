import { expect } from "bun:test";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder, sourceFolder } from "../../../../scripts/lib/apps/install-app.ts";
import { startChromium } from "../../../support/apps/browser.ts";
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
  // Chromium makes that address from the Host of the request, in a body. One that is not the client's is as good as none.
  const { origin, prefix, headerRoute } = visit.place;
  const base = visit.usesHeader ? headerRoute.origin : origin + prefix;
  const headers = visit.usesHeader ? headerRoute.headers : {};
  await connect(visit, base, headers);
}

/** The address of the WebSocket is known. */
async function useWebSocketUrl(visit: Visit, app: BrowserApp): Promise<void> {
  const { origin, prefix } = visit.place;
  await connect(visit, `${origin.replace("http", "ws")}${prefix}${app.debuggerPath}`);
}
