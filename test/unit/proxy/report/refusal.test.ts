import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";

import { answerSpecOf, IngressError, type IngressErrorCode, listErrorCodes } from "../../../../src/errors.ts";
import { buildRefusal, type RefusalOptions } from "../../../../src/proxy/report/refusal.ts";
import { PROJECT_URL } from "../../../../src/version.ts";
import type { Route } from "../../../../src/route/route.ts";

const ROUTE: Route = {
  form: "header",
  sandboxId: "my-sandbox",
  port: 3000,
  path: "/",
  signature: undefined,
  signedPath: "/",
  prefix: "",
};
const OPTIONS: RefusalOptions = { closeConnection: false, requestId: "r-1", route: ROUTE, countsAsUse: false };
const ACCEPTS = { text: "*/*", problem: "application/problem+json", page: "text/html" } as const;
const PAGE_MAX_BYTES = 8 * 1024;

type Form = keyof typeof ACCEPTS;

async function render(error: IngressError, form: Form, options: Partial<RefusalOptions> = {}) {
  const request = new Request("http://x/", { headers: { accept: ACCEPTS[form] } });
  const answer = buildRefusal(request, error, { ...OPTIONS, ...options });
  const { status, headers } = answer;
  return { status, headers: Object.fromEntries(headers), body: await answer.text() };
}

describe("buildRefusal", () => {
  const codes = listErrorCodes();

  test.each(codes)("buildRefusal builds %s in three forms with the same status and headers", async (code) => {
    const spec = answerSpecOf(code);
    const shown = spec.publicCode ?? code;
    for (const [form, type] of [
      ["text", "text/plain; charset=utf-8"],
      ["problem", "application/problem+json"],
      ["page", "text/html; charset=utf-8"],
    ] as const) {
      const { status, headers, body } = await render(new IngressError(code), form);
      expect(status).toBe(spec.status);
      expect(headers).toMatchObject({
        "content-type": type,
        "cache-control": "no-store",
        "proxy-status": `opensandbox-ingress; error=${spec.proxyError}; details="${shown}"`,
        vary: "Accept, Sec-Fetch-Mode",
        "x-content-type-options": "nosniff",
        "x-request-id": "r-1",
      });
      expect(headers["retry-after"]).toBe(spec.retryAfterSeconds?.toString());
      if (form === "text") expect(body).toBe(`OpenSandbox Ingress: ${spec.message}\n`);
      else expect(body).toContain(shown);
      expect(body).not.toMatch(/\{(port|number)\}|undefined/);
    }
  });

  test("buildRefusal writes the members of problem details, and leaves out what is unknown", async () => {
    const { body } = await render(new IngressError("upstream_refused"), "problem");
    expect(JSON.parse(body)).toEqual({
      type: `${PROJECT_URL}#upstream_refused`,
      title: "Nothing listens on the port",
      status: 503,
      detail: "sandbox refused the connection",
      code: "upstream_refused",
      sandboxId: "my-sandbox",
      port: 3000,
      requestId: "r-1",
      retryAfter: 1,
    });
    const bare = await render(new IngressError("internal"), "problem", { route: undefined });
    expect([...bare.body.matchAll(/"(\w+)":/g)].map(([, name]) => name)).toEqual([
      "type",
      "title",
      "status",
      "detail",
      "code",
      "requestId",
    ]);
  });

  test.each(["text", "problem", "page"] as const)(
    "buildRefusal makes all 401 equal, and all 429, as %s",
    async (form) => {
      const denied = codes.filter((code) => answerSpecOf(code).status === 401);
      const throttled: IngressErrorCode[] = ["access_throttled", "access_throttled_sandbox"];
      expect(denied.length).toBeGreaterThan(3);
      for (const equal of [denied, throttled]) {
        const seen = await Promise.all(equal.map((code) => render(new IngressError(code, "told apart"), form)));
        expect(new Set(seen.map((one) => JSON.stringify(one))).size).toBe(1);
      }
    },
  );

  test("buildRefusal never shows a cause", async () => {
    const error = new IngressError("upstream_unreachable", undefined, { cause: new Error("10.0.0.7:3000 team-a") });
    for (const form of ["text", "problem", "page"] as const) {
      expect(JSON.stringify(await render(error, form))).not.toMatch(/10\.0\.0\.7|team-a/);
    }
  });
});

describe("renderRefusalPage", () => {
  const pageOf = async (code: IngressErrorCode, options: Partial<RefusalOptions> = {}, message?: string) =>
    await render(new IngressError(code, message), "page", options);

  test("renderRefusalPage says how to start something on a port on which nothing listens", async () => {
    const { body } = await pageOf("upstream_refused");
    expect(body).toContain("<h1>Nothing listens on port 3000</h1>");
    expect(body).toContain("<code>0.0.0.0</code>");
    expect(body).toContain("<code>python3 -m http.server 3000 --bind 0.0.0.0</code>");
    expect(body).toContain("<dd>r-1</dd>");
  });

  test("renderRefusalPage reloads only if nothing can listen yet and the request did not count as use", async () => {
    const reloading = async (code: IngressErrorCode, countsAsUse: boolean): Promise<boolean> =>
      (await pageOf(code, { countsAsUse })).body.includes('http-equiv="refresh"');
    expect(await reloading("sandbox_not_ready", false)).toBe(true);
    expect(await reloading("not_synced", false)).toBe(true);
    expect(await reloading("sandbox_not_ready", true)).toBe(false);
    expect(await reloading("upstream_refused", false)).toBe(false);
    expect(await reloading("sandbox_not_found", false)).toBe(false);
  });

  test("renderRefusalPage allows exactly its own style, and holds no script and no address", async () => {
    const { headers, body } = await pageOf("sandbox_not_ready");
    const style = /<style>([\s\S]*?)<\/style>/.exec(body)?.[1] ?? "";
    const hash = createHash("sha256").update(style).digest("base64");
    expect(headers["content-security-policy"]).toBe(
      `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`,
    );
    expect(headers["referrer-policy"]).toBe("no-referrer");
    expect(body).not.toMatch(/<script|\son\w+=|\sstyle=|src=|href=|url\(/i);
  });

  test("renderRefusalPage escapes texts from outside, and stays under 8 KB", async () => {
    const hostile = `<script>alert(1)</script>"'&`;
    const { body } = await pageOf(
      "sandbox_not_ready",
      { requestId: hostile.padEnd(128, "&"), route: { ...ROUTE, sandboxId: hostile.padEnd(253, "'") } },
      hostile,
    );
    expect(body).not.toContain("<script");
    expect(body.split("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;")).toHaveLength(4);
    for (const code of listErrorCodes()) {
      const long = "&".repeat(100_000);
      const page = await pageOf(code, { requestId: long, route: { ...ROUTE, sandboxId: '"'.repeat(1_000) } }, long);
      expect(Buffer.byteLength(page.body)).toBeLessThan(PAGE_MAX_BYTES);
    }
  });
});
