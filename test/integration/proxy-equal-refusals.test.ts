import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { headerValues, openRaw } from "../../scripts/lib/stage/raw-client.ts";
import { parseAccessKeys } from "../../src/access/keys.ts";
import { signRoute } from "../../src/access/signature.ts";
import { ACCESS_KEYS, ACCESS_TOKEN } from "../support/access-stage.ts";

/** No request reaches the sandbox. */
const PORT = 8080;
const KINDS = ["GET", "POST", "websocket"] as const;
const UPGRADE = ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="];

const proxies = new Map<"header" | "uri", ProxyHarness>();

beforeAll(() => {
  for (const mode of ["header", "uri"] as const) {
    const proxy = startProxy({ mode }, { accessKeys: ACCESS_KEYS });
    proxy.provider.set({ name: "closed", accessToken: ACCESS_TOKEN });
    proxies.set(mode, proxy);
  }
});

afterAll(async () => {
  for (const proxy of proxies.values()) await proxy[Symbol.asyncDispose]();
});

describe("401", () => {
  test.each(
    (["text/plain", "application/problem+json", "text/html"] as const).flatMap((accept) =>
      (["header", "uri"] as const).flatMap((mode) => KINDS.map((kind) => [accept, mode, kind] as const)),
    ),
  )("every 401 is the same except for its request id (%s, %s mode, %s)", async (accept, mode, kind) => {
    const future = (Math.floor(Date.now() / 1000) + 3_600).toString(36);
    const past = (Math.floor(Date.now() / 1000) - 3_600).toString(36);
    const sign = (expiresB36: string) =>
      signRoute(parseAccessKeys(ACCESS_KEYS), "a", { sandboxId: "closed", port: PORT, expiresB36 }).signature;
    const wrong = sign(future).startsWith("0") ? `1${sign(future).slice(1)}` : `0${sign(future).slice(1)}`;
    const links = [undefined, [past, sign(past)], [future, wrong], [future, `${sign(future).slice(0, 8)}z`]] as const;
    const tokens = [undefined, "", "wrong", `${ACCESS_TOKEN}x`, ACCESS_TOKEN.slice(0, -1), ACCESS_TOKEN.toUpperCase()];
    const answers = new Set<string>();
    let count = 0;
    for (const link of links) {
      for (const token of tokens) {
        const connection = kind === "websocket" ? ["Connection: Upgrade"] : [];
        const presented = token === undefined ? [] : [`OpenSandbox-Secure-Access: ${token}`];
        const suffix = link === undefined ? "" : mode === "uri" ? `/${link.join("/")}` : `-${link.join("-")}`;
        const proxy = proxies.get(mode);
        const target = mode === "uri" ? `/closed/${PORT}${suffix}/x` : "/x";
        const route = mode === "uri" ? [] : [`OpenSandbox-Ingress-To: closed-${PORT}${suffix}`];
        const own = kind === "POST" ? ["Content-Length: 2"] : kind === "websocket" ? UPGRADE : [];
        const head = [`${kind === "POST" ? "POST" : "GET"} ${target} HTTP/1.1`, "Host: h.test", `Accept: ${accept}`];
        const client = await openRaw(proxy?.port ?? 0);
        const all = [...head, ...route, ...own, ...connection, ...presented];
        client.write(`${all.join("\r\n")}\r\n\r\n${kind === "POST" ? "hi" : ""}`);
        const answer = await client.readAnswer();
        client.destroy();
        const [id = ""] = headerValues(answer, "x-request-id");
        expect([answer.status, id.startsWith("test-")]).toEqual([401, true]);
        answers.add(answer.raw.replaceAll(id, "ID").replace(/^(Date|Content-Length): .*$/gim, "$1"));
        count++;
      }
    }
    expect(count).toBe(links.length * tokens.length);
    expect([...answers]).toHaveLength(1);
  });
});
