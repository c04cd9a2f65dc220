import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { parseAccessKeys } from "../../src/access/access-keys.ts";
import { FAILURE_BURST } from "../../src/access/failure-limiter.ts";
import { signRoute } from "../../src/access/signature.ts";
import { parseAddressSet } from "../../src/address.ts";
import type { ProviderType } from "../../src/config.ts";
import type { IngressErrorCode } from "../../src/errors.ts";
import { formatLabelRoute, formatUriRoute } from "../../src/route/format-route.ts";
import type { RouteForm, RouteSignature } from "../../src/route/route.ts";
import { sandboxKindOf } from "../../src/sandbox/provider-kinds.ts";
import type { SandboxRecord } from "../../src/sandbox/provider.ts";
import { eventually } from "../support/eventually.ts";
import { type ProxyHarness, startProxy } from "../support/proxy-harness.ts";
import { headerValues, type RawAnswer, rawRequest } from "../support/raw-client.ts";
import { agentSandbox, batchSandbox } from "../support/sandbox-objects.ts";
import { createTableProvider, type TableProvider } from "../support/table-provider.ts";

// The access table of the contract (§3) and the URI rules (§2), over real sockets: every cell, in every form, for both
// providers, as plain requests and as WebSockets.

const KEYS_TEXT = "a=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const KEYS = parseAccessKeys(KEYS_TEXT);
const TOKEN = "secure-access-token-1";

const PROVIDERS: readonly ProviderType[] = ["batchsandbox", "agent-sandbox"];
const FORMS: readonly RouteForm[] = ["header", "host", "uri"];
const TRANSPORTS = ["http", "websocket"] as const;
type Transport = (typeof TRANSPORTS)[number];

const SIGNATURES = ["none", "valid", "expired", "unknown key", "mismatch"] as const;
type SignatureKind = (typeof SIGNATURES)[number];

/** What stands in `OpenSandbox-Secure-Access`; undefined: there is no such header. */
const PRESENTED = {
  absent: undefined,
  right: TOKEN,
  padded: `  ${TOKEN}\t`,
  empty: "",
  wrong: `${TOKEN}x`,
} as const satisfies Record<string, string | undefined>;
type PresentedKind = keyof typeof PRESENTED;
const PRESENTED_KINDS: readonly PresentedKind[] = ["absent", "right", "padded", "empty", "wrong"];

/** `secured` and `open` are ready; `pausing` is secured and not ready. */
type SandboxName = "secured" | "open" | "pausing";

interface Shot {
  readonly proxy: ProxyHarness;
  readonly form: RouteForm;
  readonly sandbox?: SandboxName;
  readonly signature?: SignatureKind;
  readonly presented?: PresentedKind;
  readonly transport?: Transport;
  /** Whom a proxy in front names as the client; by default one that nobody else is. */
  readonly client?: string;
}

/** The path that the sandbox last saw, with any credential that it should not have seen. */
let seen: string[] = [];
let upstream: ReturnType<typeof startUpstream>;
const proxies = new Map<string, ProxyHarness>();
let clients = 0;

function startUpstream() {
  return Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch(request, server) {
      const leaked = [...request.headers.keys()].filter((name) => name.startsWith("opensandbox-"));
      seen.push([new URL(request.url).pathname, ...leaked].join(" "));
      return server.upgrade(request) ? undefined : new Response("sandbox");
    },
    websocket: { message() {} },
  });
}

function buildRecords(providerType: ProviderType): SandboxRecord[] {
  const { project } = sandboxKindOf(providerType);
  const objects = (["secured", "open", "pausing"] as const).map((name) => {
    const token = name === "open" ? undefined : ` ${TOKEN} `;
    const uid = `uid-${name}`;
    if (providerType === "batchsandbox") {
      const status = { replicas: 1, ready: name === "pausing" ? 0 : 1, phase: "Succeed" };
      return batchSandbox({ name, uid, endpoints: '["127.0.0.1"]', status, ...(token === undefined ? {} : { token }) });
    }
    const annotations = token === undefined ? {} : { "opensandbox.io/secure-access-token": token };
    const ready = { type: "Ready", status: name === "pausing" ? "False" : "True", reason: "DependenciesNotReady" };
    return agentSandbox({ podIPs: ["127.0.0.1"], conditions: [ready] }, { name, uid, annotations });
  });
  return objects.map((object) => {
    const { record, warning } = project(object, { allowLoopback: true });
    if (record === undefined) throw new Error(warning);
    return record;
  });
}

function createProvider(providerType: ProviderType): TableProvider {
  const provider = createTableProvider({ providerType });
  for (const record of buildRecords(providerType)) provider.set(record);
  return provider;
}

function start(providerType: ProviderType, form: RouteForm, accessKeys?: string): ProxyHarness {
  const mode = form === "uri" ? "uri" : "header";
  const config = { mode, trustedProxies: parseAddressSet("private") } as const;
  const provider = createProvider(providerType);
  return startProxy(config, accessKeys === undefined ? { provider } : { provider, accessKeys });
}

const proxyName = (providerType: ProviderType, form: RouteForm, keys: "keys" | "no keys") =>
  `${providerType} ${form} ${keys}`;

function proxyFor(providerType: ProviderType, form: RouteForm, keys: "keys" | "no keys" = "keys"): ProxyHarness {
  const proxy = proxies.get(proxyName(providerType, form, keys));
  if (proxy === undefined) throw new Error("no such proxy");
  return proxy;
}

beforeAll(() => {
  upstream = startUpstream();
  for (const providerType of PROVIDERS) {
    for (const form of FORMS) {
      proxies.set(proxyName(providerType, form, "keys"), start(providerType, form, KEYS_TEXT));
      proxies.set(proxyName(providerType, form, "no keys"), start(providerType, form));
    }
  }
});

afterAll(async () => {
  await Promise.all([...proxies.values()].map((proxy) => proxy[Symbol.asyncDispose]()));
  await upstream.stop(true);
});

function upstreamPort(): number {
  if (upstream.port === undefined) throw new Error("the upstream does not listen");
  return upstream.port;
}

function buildSignature(sandboxId: string, kind: SignatureKind): RouteSignature | undefined {
  if (kind === "none") return undefined;
  const offsetSeconds = kind === "expired" ? -60 : 3_600;
  const expiresB36 = (Math.floor(Date.now() / 1000) + offsetSeconds).toString(36);
  const good = signRoute(KEYS, "a", { sandboxId, port: upstreamPort(), expiresB36 });
  if (kind === "unknown key") return { expiresB36, signature: `${good.signature.slice(0, 8)}z` };
  if (kind !== "mismatch") return good;
  const other = good.signature.startsWith("0") ? "1" : "0";
  return { expiresB36, signature: other + good.signature.slice(1) };
}

/** Sends one request; gives the answer and what the sandbox saw. */
async function shoot(shot: Shot) {
  const { form, sandbox = "secured", presented = "absent", transport = "http" } = shot;
  const signature = buildSignature(sandbox, shot.signature ?? "none");
  const target = { sandboxId: sandbox, port: upstreamPort(), signature };
  const label = formatLabelRoute(target);
  const lines = [
    `GET ${form === "uri" ? formatUriRoute(target) : ""}/x HTTP/1.1`,
    `Host: ${form === "host" ? `${label}.example.test` : "gateway.test"}`,
    `X-Forwarded-For: ${shot.client ?? `203.0.${clients >> 8}.${clients++ & 255}`}`,
  ];
  if (form === "header") lines.push(`OpenSandbox-Ingress-To: ${label}`);
  const value = PRESENTED[presented];
  if (value !== undefined) lines.push(`OpenSandbox-Secure-Access: ${value}`);
  if (transport === "websocket") {
    lines.push("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13");
    lines.push("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==");
  }
  seen = [];
  const answer = await rawRequest(shot.proxy.port, `${lines.join("\r\n")}\r\n\r\n`);
  const plain = signature === undefined || form !== "uri" ? "/x" : `/${signature.expiresB36}/${signature.signature}/x`;
  return { answer, seen, plain, signature };
}

/** Asserts that the sandbox was reached, once, at `path`. */
function expectPassed(result: Awaited<ReturnType<typeof shoot>>, transport: Transport, path: string): void {
  expect(result.answer.status).toBe(transport === "websocket" ? 101 : 200);
  expect(result.seen).toEqual([path]);
}

/** The answer without the one line that time changes. */
function withoutDate(answer: RawAnswer): string {
  return answer.raw.replace(/^date:.*\r\n/im, "");
}

/** Asserts that the ingress refused, and that the sandbox noticed nothing. */
function expectRefused(
  proxy: ProxyHarness,
  result: Awaited<ReturnType<typeof shoot>>,
  [status, code]: readonly [status: number, code: IngressErrorCode],
): void {
  expect(result.answer.status).toBe(status);
  expect(proxy.accessLog.at(-1)?.code).toBe(code);
  expect(result.seen).toEqual([]);
}

const TABLES = PROVIDERS.flatMap((providerType) =>
  FORMS.flatMap((form) => TRANSPORTS.map((transport) => [providerType, form, transport] as const)),
);

describe.each(TABLES)("Access for %s, %s form, over %s", (providerType, form, transport) => {
  test("an open sandbox passes everything, and what looks signed is an ordinary path", async () => {
    for (const keys of ["keys", "no keys"] as const) {
      const proxy = proxyFor(providerType, form, keys);
      for (const signature of SIGNATURES) {
        for (const presented of PRESENTED_KINDS) {
          const result = await shoot({ proxy, form, transport, sandbox: "open", signature, presented });
          expectPassed(result, transport, result.plain);
        }
      }
    }
  });

  test("the token passes with any signature, and only a credential that verifies leaves the path", async () => {
    const proxy = proxyFor(providerType, form);
    for (const signature of SIGNATURES) {
      for (const presented of ["right", "padded"] as const) {
        const result = await shoot({ proxy, form, transport, signature, presented });
        expectPassed(result, transport, signature === "valid" ? "/x" : result.plain);
      }
    }
  });

  test("the token passes without keys, and what looks signed stays in the path", async () => {
    const proxy = proxyFor(providerType, form, "no keys");
    for (const signature of SIGNATURES) {
      const result = await shoot({ proxy, form, transport, signature, presented: "right" });
      expectPassed(result, transport, result.plain);
    }
  });

  test("a wrong token, an empty one too, is refused whatever the signature", async () => {
    const proxy = proxyFor(providerType, form);
    for (const signature of SIGNATURES) {
      for (const presented of ["empty", "wrong"] as const) {
        const result = await shoot({ proxy, form, transport, signature, presented });
        expectRefused(proxy, result, [401, "token_mismatch"]);
      }
    }
  });

  test("without a token the signature decides", async () => {
    const proxy = proxyFor(providerType, form);
    const codes = {
      none: "signature_required",
      expired: "access_expired",
      "unknown key": "signature_invalid",
      mismatch: "signature_invalid",
    } as const;
    for (const signature of ["none", "expired", "unknown key", "mismatch"] as const) {
      const result = await shoot({ proxy, form, transport, signature });
      expectRefused(proxy, result, [401, codes[signature]]);
    }
    expectPassed(await shoot({ proxy, form, transport, signature: "valid" }), transport, "/x");
  });

  test("without a token and without keys a signed route cannot be checked, and an unsigned one is refused", async () => {
    const proxy = proxyFor(providerType, form, "no keys");
    for (const signature of SIGNATURES) {
      const result = await shoot({ proxy, form, transport, signature });
      const isSigned = signature !== "none";
      expectRefused(proxy, result, isSigned ? [503, "verifier_not_configured"] : [401, "signature_required"]);
    }
  });

  test("without a credential nobody can tell a ready sandbox from one that is not, nor why", async () => {
    const proxy = proxyFor(providerType, form);
    const answers = new Set<string>();
    for (const sandbox of ["secured", "pausing"] as const) {
      for (const signature of ["none", "expired", "unknown key", "mismatch"] as const) {
        answers.add(withoutDate((await shoot({ proxy, form, transport, sandbox, signature })).answer));
      }
      answers.add(withoutDate((await shoot({ proxy, form, transport, sandbox, presented: "wrong" })).answer));
    }
    expect([...answers]).toHaveLength(1);
    expect([...answers][0]).toMatch(/^HTTP\/1\.1 401 /);
    expect([...answers][0]).toEndWith("\r\n\r\nOpenSandbox Ingress: access denied\n");
    for (const credential of [{ presented: "right" }, { signature: "valid" }] as const) {
      const result = await shoot({ proxy, form, transport, sandbox: "pausing", ...credential });
      expectRefused(proxy, result, [503, "sandbox_not_ready"]);
    }
  });
});

describe("Guessing signatures", () => {
  test.each(FORMS)(
    "a client that guesses in %s form is throttled at that sandbox, and nobody else is",
    async (form) => {
      await using proxy = start("batchsandbox", form, KEYS_TEXT);
      const guesser = { proxy, form, client: "198.51.100.7" } as const;
      for (let left = FAILURE_BURST; left > 0; left--) {
        expect((await shoot({ ...guesser, signature: "mismatch" })).answer.status).toBe(401);
      }
      for (const transport of TRANSPORTS) {
        for (const signature of ["mismatch", "valid"] as const) {
          const result = await shoot({ ...guesser, signature, transport });
          expectRefused(proxy, result, [429, "access_throttled"]);
          expect(headerValues(result.answer, "retry-after")).toEqual(["10"]);
        }
      }
      expectPassed(await shoot({ ...guesser, presented: "right" }), "http", "/x");
      expectPassed(await shoot({ ...guesser, signature: "valid", client: "198.51.100.8" }), "http", "/x");
      expectPassed(await shoot({ ...guesser, sandbox: "open" }), "http", "/x");
      const other = await shoot({ ...guesser, sandbox: "pausing", signature: "valid" });
      expectRefused(proxy, other, [503, "sandbox_not_ready"]);
    },
  );

  test("an IPv6 client cannot guess on with another address of its network", async () => {
    await using proxy = start("batchsandbox", "header", KEYS_TEXT);
    for (let each = 0; each < FAILURE_BURST; each++) {
      await shoot({ proxy, form: "header", signature: "mismatch", client: `2001:db8:1:2::${each.toString(16)}` });
    }
    const inside = await shoot({ proxy, form: "header", signature: "valid", client: "2001:db8:1:2:ffff::1" });
    expect(inside.answer.status).toBe(429);
    const outside = await shoot({ proxy, form: "header", signature: "valid", client: "2001:db8:1:3::1" });
    expectPassed(outside, "http", "/x");
  });
});

describe("Secrets", () => {
  test("the access log carries neither token nor signature", async () => {
    await using proxy = start("batchsandbox", "uri", KEYS_TEXT);
    const shots = [
      await shoot({ proxy, form: "uri", signature: "mismatch" }),
      await shoot({ proxy, form: "uri", signature: "valid" }),
      await shoot({ proxy, form: "uri", signature: "valid", presented: "wrong" }),
      await shoot({ proxy, form: "uri", signature: "mismatch", presented: "right" }),
    ];
    await eventually(() => proxy.accessLog.length === shots.length);
    const text = JSON.stringify(proxy.accessLog);
    expect(text).not.toContain(TOKEN);
    for (const { signature } of shots) {
      if (signature === undefined) throw new Error("the route was not signed");
      expect(text).not.toContain(signature.signature);
      expect(text).not.toContain(signature.expiresB36);
    }
  });
});
