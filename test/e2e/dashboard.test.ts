import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { readDashboardFiles } from "../../src/admin/dashboard-files.ts";
import { type Browser, startBrowser } from "../../scripts/lib/browser/browser.ts";
import type { Page } from "../../scripts/lib/browser/page.ts";
import { startIngressProcess } from "../../scripts/lib/ingress-process.ts";
import { rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { createTableProvider } from "../../scripts/lib/stage/table-provider.ts";
import { buildBinary } from "../support/binary.ts";
import { findBarriers, openDashboard, settleText, textOf } from "../support/dashboard-page.ts";
import { type DebugStage, startDebugStage } from "../support/debug-stage.ts";
import { requireBrowser } from "../support/require-browser.ts";
import { tempDir } from "../support/temp-dir.ts";

/** A browser starts, and waits for polls of a second or two, on a machine that others use, too. */
const TEST_MAX_MS = 120_000;

const MARKUP = `<img src=x onerror="globalThis.isHacked = true">`;

const upstream = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch: ({ url }) => new Response("answer", { status: new URL(url).pathname === "/fail" ? 500 : 200 }),
});

const send = (stage: DebugStage, route: string, path = "/") =>
  rawRequest(stage.port, `GET ${path} HTTP/1.1\r\nHost: h.test\r\nOpenSandbox-Ingress-To: ${route}\r\n\r\n`);

const setValue = (selector: string, value: string) => `(() => {
  const box = document.querySelector(${JSON.stringify(selector)});
  box.value = ${JSON.stringify(value)};
  box.dispatchEvent(new Event("input", { bubbles: true }));
})()`;
const rowOf = (id: string) => `#rows tr[data-id="${id}"]`;
const click = (selector: string) => `document.querySelector(${JSON.stringify(selector)}).click()`;
const focused =
  "document.activeElement.id || document.activeElement.getAttribute('aria-label') || document.activeElement.textContent";

describe.skipIf(!requireBrowser())("the dashboard in a browser", () => {
  let stage: DebugStage;
  let browser: Browser;
  let page: Page;
  beforeAll(async () => {
    stage = await startDebugStage();
    stage.provider.set({ name: "first" });
    browser = await startBrowser();
    page = await openDashboard(browser, stage.adminPort);
  }, TEST_MAX_MS);
  afterAll(async () => {
    await page[Symbol.asyncDispose]();
    await browser[Symbol.asyncDispose]();
    await stage[Symbol.asyncDispose]();
    await upstream.stop(true);
  });

  test(
    "the dashboard shows a sandbox as it appears, with its state and reason",
    async () => {
      expect(await settleText(page, rowOf("first"), (text) => text !== "")).toContain("ready");
      const notReady = "sandbox not ready: sandbox comes not ready (Pending: one replica starts)";
      stage.provider.set({ name: "comes", namespace: "team", ready: false, notReady });
      const row = await settleText(page, rowOf("comes"), (text) => text !== "");
      expect(row).toContain("not ready Pending: one replica starts");
      expect(row).toContain("team");
      expect(await settleText(page, "#tile-table", (text) => text.includes("1 not ready"))).toContain("1 ready");
    },
    TEST_MAX_MS,
  );

  test(
    "the dashboard shows what is wrong with the annotations of a sandbox, ready or not",
    async () => {
      const fault = "invalid annotation ingress.opensandbox.io/allowed-ports, allowing nothing: expected ports";
      stage.provider.set({ name: "closed", policy: { fault } });
      const row = await settleText(page, rowOf("closed"), (text) => text !== "");
      expect(row).toContain("ready");
      expect(row).toContain("policy invalid annotation allowed-ports, allowing nothing: expected ports");
      stage.provider.set({ name: "closed", ready: false, notReady: "odd", policy: { fault } });
      expect(await settleText(page, rowOf("closed"), (text) => text.includes("not ready odd"))).toContain(
        "policy invalid",
      );
      stage.provider.set({ name: "closed" });
      expect(await settleText(page, rowOf("closed"), (text) => !text.includes("policy"))).toContain("ready");
      stage.provider.table.remove("default", "closed");
    },
    TEST_MAX_MS,
  );

  test(
    "the dashboard counts requests, failures and refusals",
    async () => {
      await send(stage, `first-${upstream.port}`);
      await send(stage, `first-${upstream.port}`, "/fail");
      await send(stage, `nobody-${upstream.port}`);
      expect(await settleText(page, "#statuses [data-name='500']", (text) => text !== "")).toEndWith("\t1");
      expect(await textOf(page, "#statuses [data-name='200']")).toEndWith("\t1");
      const refused = await settleText(page, "#refusals [data-name='sandbox_not_found']", (text) => text !== "");
      expect(refused).toEndWith("\t1");
      expect(await settleText(page, rowOf("first"), (text) => text.includes("1 of 2"))).toContain("1 of 2");
      const failures = await settleText(page, "#failures", (text) => text.includes("nobody"));
      expect(failures).toContain(`nobody:${upstream.port}\t404\tsandbox_not_found`);
    },
    TEST_MAX_MS,
  );

  test(
    "the search finds by part of a name, and the state filters",
    async () => {
      await page.evaluate(setValue("#search", "OME"));
      expect(await settleText(page, "#range", (text) => text === "1 to 1 of 1")).toBe("1 to 1 of 1");
      expect(await page.evaluate("document.querySelector('#rows tr').dataset.id")).toBe("comes");
      await page.evaluate(setValue("#search", "no such sandbox"));
      expect(await settleText(page, "#rows", (text) => text.includes("No"))).toBe("No sandbox matches.");
      await page.evaluate(setValue("#search", ""));
      await page.evaluate(`(() => {
        const box = document.querySelector("#sandboxes select");
        box.value = "not-ready";
        box.dispatchEvent(new Event("change", { bubbles: true }));
      })()`);
      expect(await settleText(page, "#range", (text) => text === "1 to 1 of 1")).toBe("1 to 1 of 1");
      await page.evaluate(`(() => {
        const box = document.querySelector("#sandboxes select");
        box.value = "";
        box.dispatchEvent(new Event("change", { bubbles: true }));
      })()`);
      expect(await settleText(page, "#range", (text) => text === "1 to 2 of 2")).toBe("1 to 2 of 2");
    },
    TEST_MAX_MS,
  );

  test(
    "the explain box explains, with headers, and says what is wrong with a question",
    async () => {
      stage.provider.set({ name: "locked", accessToken: "the-token" });
      await page.evaluate(setValue("#explain-target", `locked-${upstream.port}`));
      await page.evaluate(click("#explain-send"));
      const refused = await settleText(page, "#explanation", (text) => text !== "");
      expect(refused).toContain("401 The request would be refused: signature_required.");
      await page.evaluate(setValue("#explain-headers", "OpenSandbox-Secure-Access: the-token\n"));
      await page.evaluate(click("#explain-send"));
      const forwarded = await settleText(page, "#explanation", (text) => text.includes("would be forwarded"));
      expect(forwarded).toContain("the token is the sandbox's");
      await page.evaluate(setValue("#explain-headers", "no colon"));
      await page.evaluate(click("#explain-send"));
      expect(await settleText(page, "#explanation", (text) => text.includes("header"))).toBe(
        "Each header is a line: name, colon, value.",
      );
      await page.evaluate(setValue("#explain-headers", ""));
    },
    TEST_MAX_MS,
  );

  test(
    "names, namespaces and reasons from outside stay text",
    async () => {
      stage.provider.set({ name: MARKUP, namespace: MARKUP, ready: false, notReady: `odd: ${MARKUP}` });
      const row = await settleText(page, "#rows", (text) => text.includes(MARKUP));
      expect(row.split(MARKUP)).toHaveLength(4);
      await page.evaluate(click("#rows tr button"));
      await page.evaluate(click("#explain-send"));
      await settleText(page, "#explanation", (text) => text !== "");
      expect(await page.evaluate("[document.images.length, globalThis.isHacked ?? false]")).toEqual([0, false]);
      stage.provider.table.remove(MARKUP, MARKUP);
    },
    TEST_MAX_MS,
  );

  test(
    "the keyboard alone searches, reaches a sandbox and explains it",
    async () => {
      await page.evaluate("document.activeElement.blur(), scrollTo(0, 0)");
      await page.command("Page.reload");
      await settleText(page, rowOf("first"), (text) => text !== "");
      await page.press("Tab");
      expect(await page.evaluate(focused)).toBe("Skip to the sandboxes");
      await page.press("Enter");
      await page.press("Tab");
      expect(await page.evaluate(focused)).toBe("search");
      await page.type("first");
      await settleText(page, "#range", (text) => text === "1 to 1 of 1");
      const seen: unknown[] = [];
      while (seen.at(-1) !== "Explain first" && seen.length < 20) {
        await page.press("Tab");
        seen.push(await page.evaluate(focused));
        expect(await page.evaluate("document.activeElement.matches(':focus-visible')")).toBe(true);
      }
      expect(seen).toContain("Sandboxes, table");
      expect(seen.at(-1)).toBe("Explain first");
      await page.press("Enter");
      await page.settle(focused, (id) => id === "explain-target");
      expect(await page.evaluate("document.activeElement.value")).toBe("first-8080");
      await page.press("Enter");
      expect(await settleText(page, "#explanation", (text) => text !== "")).toContain("would be");
    },
    TEST_MAX_MS,
  );

  test.each([
    ["light", 1_280],
    ["dark", 1_280],
    ["light", 360],
  ] as const)(
    "axe finds nothing in %s, %i pixels wide, and the page does not scroll sideways",
    async (scheme, width) => {
      stage.provider.set({ name: "axe", namespace: "one", uid: "1" });
      stage.provider.set({ name: "policy", policy: { fault: "unknown annotation ingress.opensandbox.io/odd" } });
      stage.provider.set({ name: "axe", namespace: "two", uid: "2" });
      stage.provider.setStatus({ synced: true, ageMs: 3_600_000 });
      const features = [{ name: "prefers-color-scheme", value: scheme }];
      await page.command("Emulation.setEmulatedMedia", { features });
      await page.command("Emulation.setDeviceMetricsOverride", {
        width,
        height: 900,
        deviceScaleFactor: 1,
        mobile: false,
      });
      expect(await settleText(page, ".problems", (text) => text !== "")).toContain("older than");
      expect(await findBarriers(page)).toBe("");
      const isDark = await page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches");
      expect(isDark).toBe(scheme === "dark");
      expect(await page.evaluate("document.documentElement.scrollWidth <= innerWidth")).toBe(true);
    },
    TEST_MAX_MS,
  );

  test(
    "a hidden dashboard asks nothing until it is seen again",
    async () => {
      await page.evaluate(`(() => {
        globalThis.asked = 0;
        globalThis.waiting = 0;
        const { fetch: send } = globalThis;
        globalThis.fetch = (...question) => { asked += 1; return send(...question); };
        for (const [name, step] of [["addEventListener", 1], ["removeEventListener", -1]]) {
          const original = document[name];
          document[name] = (type, ...rest) => {
            if (type === "visibilitychange") waiting += step;
            return original.call(document, type, ...rest);
          };
        }
        Object.defineProperty(document, "visibilityState", { configurable: true, get: () => globalThis.seen ?? "hidden" });
      })()`);
      // The numbers, the list and the failures: none of them has a timer any more.
      expect(await page.settle("waiting", (waiting) => waiting === 3)).toBe(3);
      const asked = Number(await page.evaluate("asked"));
      await page.evaluate("globalThis.seen = 'visible', document.dispatchEvent(new Event('visibilitychange'))");
      expect(Number(await page.settle("asked", (now) => Number(now) >= asked + 3))).toBeGreaterThanOrEqual(asked + 3);
    },
    TEST_MAX_MS,
  );

  test("nothing that the page does is against its own policy", async () => {
    expect(await page.evaluate("violations")).toEqual([]);
  });
});

describe.skipIf(!requireBrowser())("the dashboard with 10,000 sandboxes", () => {
  test(
    "it pages, sorts and searches, and never holds more rows than a page",
    async () => {
      const provider = createTableProvider();
      for (let at = 0; at < 10_000; at++) provider.set({ name: `sandbox-${String(at).padStart(5, "0")}` });
      await using stage = await startDebugStage({}, { provider });
      await using browser = await startBrowser();
      await using page = await openDashboard(browser, stage.adminPort);
      const range = (wanted: string) => settleText(page, "#range", (text) => text === wanted);
      const firstRow = () => page.evaluate("document.querySelector('#rows tr').dataset.id");
      expect(await range("1 to 25 of 10,000")).toBe("1 to 25 of 10,000");
      for (const wanted of ["26 to 50 of 10,000", "51 to 75 of 10,000"]) {
        await page.evaluate("document.querySelectorAll('.pager button')[1].click()");
        expect(await range(wanted)).toBe(wanted);
      }
      expect(await firstRow()).toBe("sandbox-00050");
      await page.evaluate("document.querySelector('.pager button').click()");
      await page.settle("document.querySelector('#rows tr').dataset.id", (id) => id === "sandbox-00025");
      expect(await range("26 to 50 of 10,000")).toBe("26 to 50 of 10,000");
      await page.evaluate(click("button.sort[data-sort=name]"));
      await page.settle("document.querySelector('#rows tr').dataset.id", (id) => id === "sandbox-09999");
      expect(await firstRow()).toBe("sandbox-09999");
      await page.evaluate(setValue("#search", "00042"));
      expect(await range("1 to 1 of 1")).toBe("1 to 1 of 1");
      expect(await firstRow()).toBe("sandbox-00042");
      await page.evaluate(setValue("#search", ""));
      expect(await range("1 to 25 of 10,000")).toBe("1 to 25 of 10,000");
      expect(await page.evaluate("document.querySelectorAll('#rows tr').length")).toBe(25);
    },
    TEST_MAX_MS,
  );
});

describe.skipIf(!requireBrowser())("the dashboard of another version", () => {
  test(
    "it says so when an answer is of another version, and when it cannot show one at all",
    async () => {
      await using stage = await startDebugStage();
      await using browser = await startBrowser();
      await using page = await openDashboard(browser, stage.adminPort);
      const answerInstead = (change: string) => `globalThis.fetch = async (path, init) => {
        const answer = await send(path, init);
        if (path !== "/debug/status") return answer;
        const status = await answer.json();
        ${change};
        return Response.json(status);
      }, true`;
      await page.evaluate("globalThis.send = fetch.bind(null), true");
      await page.evaluate(answerInstead("status.version = '9.9.9'"));
      const problems = await settleText(page, ".problems", (text) => text !== "");
      expect(problems).toBe("Another version of the ingress answers now. Load this page again.");
      await page.evaluate(answerInstead("delete status.traffic"));
      const alert = await settleText(page, "[role=alert]", (text) => text !== "");
      expect(alert).toContain("cannot show what the ingress answers");
      expect(await findBarriers(page)).toBe("");
    },
    TEST_MAX_MS,
  );

  test(
    "it says so when the ingress is gone, and keeps the last numbers",
    async () => {
      const stage = await startDebugStage();
      await using browser = await startBrowser();
      await using page = await openDashboard(browser, stage.adminPort);
      await stage[Symbol.asyncDispose]();
      const problems = await settleText(page, ".problems", (text) => text !== "");
      expect(problems).toBe("The ingress does not answer. The numbers below are the last that came.");
      expect(await textOf(page, "#tile-table")).toContain("0 ready");
    },
    TEST_MAX_MS,
  );
});

describe("the dashboard in the binary", () => {
  test(
    "the binary has the dashboard that the sources make now, and needs no other file",
    async () => {
      using dir = tempDir();
      const manifest = join(dir.path, "sandboxes.json");
      writeFileSync(manifest, "");
      const options = { cwd: dir.path };
      await using ingress = await startIngressProcess(await buildBinary(), [`--manifests=${manifest}`], options);
      const { page, script, style, icon } = readDashboardFiles();
      const paths = ["/", "/dashboard/dashboard.js", "/dashboard/dashboard.css", "/dashboard/icon.svg"];
      const served = await Promise.all(paths.map((path) => fetch(ingress.adminOrigin + path).then((it) => it.text())));
      expect(served).toEqual([page.text, script.text, style.text, icon.text]);
    },
    TEST_MAX_MS,
  );
});
