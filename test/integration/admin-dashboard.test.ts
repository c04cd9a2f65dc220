import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { readDashboardFiles } from "../../src/admin/dashboard-files.ts";
import type { Status } from "../../src/admin/status.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { askRaw } from "../support/ask-raw.ts";
import { type DebugStage, startDebugStage } from "../support/debug-stage.ts";
import { tempDir } from "../support/temp-dir.ts";

const TOKEN = "the-admin-token-of-this-test";
const PATHS = ["/dashboard/dashboard.js", "/dashboard/dashboard.css", "/dashboard/icon.svg"] as const;

const dir = tempDir();
const tokenFile = join(dir.path, "token");
let stage: DebugStage;
beforeAll(async () => {
  writeFileSync(tokenFile, TOKEN);
  stage = await startDebugStage({}, { adminTokenFile: tokenFile });
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  dir[Symbol.dispose]();
});

const ask = (path: string, headers: Readonly<Record<string, string>> = {}) =>
  askRaw(stage.adminPort, path, { headers: { Host: "localhost", ...headers } });

describe("the dashboard", () => {
  test("the dashboard's files are those that the sources make now", async () => {
    const { page, script, style, icon } = readDashboardFiles();
    const served = await Promise.all(["/", ...PATHS].map((path) => ask(path)));
    expect(served.map(({ text }) => text)).toEqual([page.text, script.text, style.text, icon.text]);
    expect(served.map(({ headers }) => headers["content-type"])).toEqual(
      [page, script, style, icon].map(({ type }) => type),
    );
    expect(script.text.length).toBeGreaterThan(10_000);
    expect(script.text.length).toBeLessThan(60_000);
  });

  test("the dashboard loads only its own files, and has neither script nor style in the page", async () => {
    const { text, headers } = await ask("/");
    const loaded = [...text.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, path]) => path);
    expect(new Set(loaded)).toEqual(new Set<string | undefined>(PATHS));
    expect(text).not.toMatch(/<style|style=|<script(?![^>]*src=)[^>]*>|\son[a-z]+=/i);
    const policy = String(headers["content-security-policy"]).split("; ");
    expect(policy).toContainAllValues([
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "img-src 'self'",
      "connect-src 'self'",
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
      "require-trusted-types-for 'script'",
      "trusted-types 'none'",
    ]);
    expect(headers["cache-control"]).toBe("no-store");
    expect(headers["access-control-allow-origin"]).toBeUndefined();
  });

  test("the dashboard names no other host", () => {
    const { page, script, style } = readDashboardFiles();
    for (const { text } of [page, script, style]) {
      const hosts = [...text.matchAll(/https?:\/\/([^/"'\s)]+)/g)].map(([, host]) => host);
      // The names of two languages, and the example in the explain box.
      expect(hosts.filter((host) => !["www.w3.org", "my-sandbox-8080.example.com"].includes(host ?? ""))).toEqual([]);
    }
  });

  test.each(["/", ...PATHS])("the gate judges %s", async (path) => {
    for (const headers of [{ Host: "rebound.example" }, { "X-Forwarded-For": "1.2.3.4" }]) {
      const refused = await ask(path, headers);
      // At the root everybody gets the list of probes.
      expect(refused.status).toBe(path === "/" ? 200 : 401);
      expect(refused.text).not.toContain("<");
    }
    const foreign = await ask(path, { Origin: "http://evil.example", "Sec-Fetch-Site": "cross-site" });
    expect(foreign.text).not.toContain("dashboard.js");
    const shown = await ask(path, { Host: "ingress.internal", Authorization: `Bearer ${TOKEN}` });
    expect([shown.status, shown.text]).toEqual([200, (await ask(path)).text]);
  });

  test("many dashboards get one answer in a second, and others get a new one", async () => {
    const status = async (headers: Readonly<Record<string, string>> = {}): Promise<Status["time"]> => {
      const value: unknown = JSON.parse((await ask("/debug/status", headers)).text);
      return typeof value === "object" && value !== null && "time" in value ? String(value.time) : "";
    };
    const shared = { "Cache-Control": "max-age=1" };
    let first = "";
    await eventually(async () => {
      first = await status(shared);
      await eventually(() => Date.now() > Date.parse(first));
      return (await status(shared)) === first;
    });
    expect(Date.parse(await status())).toBeGreaterThan(Date.parse(first));
    await eventually(async () => Date.parse(await status(shared)) > Date.parse(first));
  });
});
