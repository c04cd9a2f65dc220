import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { FAILURE_BURST, SANDBOX_FAILURE_BURST, SANDBOX_FAILURE_LEAK_MS } from "../../src/access/failure-limiter.ts";
import type { ProviderType } from "../../src/sandbox/provider.ts";
import type { IngressErrorCode } from "../../src/errors.ts";
import type { RouteForm } from "../../src/route/route.ts";
import {
  ACCESS_KEYS,
  ACCESS_TOKEN,
  type AccessStage,
  createAccessStage,
  type Impact,
  PRESENTED_KINDS,
  SIGNATURE_KINDS,
  type Transport,
} from "../support/access-stage.ts";
import { createFakeClock } from "../../scripts/lib/stage/fake-clock.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import type { ProxyHarness } from "../../scripts/lib/stage/proxy-harness.ts";
import { headerValues, type RawAnswer } from "../../scripts/lib/stage/raw-client.ts";

// The access table of the contract (§3) and the URI rules (§2), over real sockets: every cell, in every form, for both
// providers, as plain requests and as WebSockets.

const PROVIDERS: readonly ProviderType[] = ["batchsandbox", "agent-sandbox"];
const FORMS: readonly RouteForm[] = ["header", "host", "uri"];
const TRANSPORTS: readonly Transport[] = ["http", "websocket"];

let stage: AccessStage;
const proxies = new Map<string, ProxyHarness>();

type Keys = "keys" | "no keys";
const proxyName = (providerType: ProviderType, form: RouteForm, keys: Keys) => `${providerType} ${form} ${keys}`;

function proxyFor(providerType: ProviderType, form: RouteForm, keys: Keys = "keys"): ProxyHarness {
  const proxy = proxies.get(proxyName(providerType, form, keys));
  if (proxy === undefined) throw new Error("no such proxy");
  return proxy;
}

beforeAll(() => {
  stage = createAccessStage();
  for (const providerType of PROVIDERS) {
    for (const form of FORMS) {
      const withKeys = stage.start(providerType, form, { accessKeys: ACCESS_KEYS });
      proxies.set(proxyName(providerType, form, "keys"), withKeys);
      proxies.set(proxyName(providerType, form, "no keys"), stage.start(providerType, form));
    }
  }
});

afterAll(() => stage[Symbol.asyncDispose]());

/** Asserts that the sandbox was reached, once, at `path`. */
function expectPassed(result: Impact, transport: Transport, path: string): void {
  expect(result.answer.status).toBe(transport === "websocket" ? 101 : 200);
  expect(result.seen).toEqual([path]);
}

/** The answer without the one line that time changes. */
function withoutDate(answer: RawAnswer): string {
  return answer.raw.replace(/^(?:Date|X-Request-Id): .*\r\n/gim, "");
}

/** Asserts that the ingress refused, and that the sandbox noticed nothing. */
function expectRefused(
  proxy: ProxyHarness,
  result: Impact,
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
  test("an open sandbox passes everything, and a path that looks signed is ordinary", async () => {
    for (const keys of ["keys", "no keys"] as const) {
      const proxy = proxyFor(providerType, form, keys);
      for (const signature of SIGNATURE_KINDS) {
        for (const presented of PRESENTED_KINDS) {
          const result = await stage.shoot({ proxy, form, transport, sandbox: "open", signature, presented });
          expectPassed(result, transport, result.plain);
        }
      }
    }
  });

  test("the token passes with any signature, and only a credential that verifies leaves the path", async () => {
    const proxy = proxyFor(providerType, form);
    for (const signature of SIGNATURE_KINDS) {
      for (const presented of ["right", "padded"] as const) {
        const result = await stage.shoot({ proxy, form, transport, signature, presented });
        expectPassed(result, transport, signature === "valid" ? "/x" : result.plain);
      }
    }
  });

  test("the token passes without keys, and what looks signed stays in the path", async () => {
    const proxy = proxyFor(providerType, form, "no keys");
    for (const signature of SIGNATURE_KINDS) {
      const result = await stage.shoot({ proxy, form, transport, signature, presented: "right" });
      expectPassed(result, transport, result.plain);
    }
  });

  test("a wrong token, an empty one too, is refused with any signature", async () => {
    const proxy = proxyFor(providerType, form);
    for (const signature of SIGNATURE_KINDS) {
      for (const presented of ["empty", "wrong"] as const) {
        const result = await stage.shoot({ proxy, form, transport, signature, presented });
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
      const result = await stage.shoot({ proxy, form, transport, signature });
      expectRefused(proxy, result, [401, codes[signature]]);
    }
    expectPassed(await stage.shoot({ proxy, form, transport, signature: "valid" }), transport, "/x");
  });

  test("without a token and without keys a signed route cannot be checked, and an unsigned one is refused", async () => {
    const proxy = proxyFor(providerType, form, "no keys");
    for (const signature of SIGNATURE_KINDS) {
      const result = await stage.shoot({ proxy, form, transport, signature });
      const isSigned = signature !== "none";
      expectRefused(proxy, result, isSigned ? [503, "verifier_not_configured"] : [401, "signature_required"]);
    }
  });

  test("without a credential a client cannot tell whether a sandbox is ready, nor why", async () => {
    const proxy = proxyFor(providerType, form);
    const answers = new Set<string>();
    for (const sandbox of ["secured", "pausing"] as const) {
      for (const signature of ["none", "expired", "unknown key", "mismatch"] as const) {
        answers.add(withoutDate((await stage.shoot({ proxy, form, transport, sandbox, signature })).answer));
      }
      answers.add(withoutDate((await stage.shoot({ proxy, form, transport, sandbox, presented: "wrong" })).answer));
    }
    expect([...answers]).toHaveLength(1);
    expect([...answers][0]).toMatch(/^HTTP\/1\.1 401 /);
    expect([...answers][0]).toEndWith("\r\n\r\nOpenSandbox Ingress: access denied\n");
    for (const credential of [{ presented: "right" }, { signature: "valid" }] as const) {
      const result = await stage.shoot({ proxy, form, transport, sandbox: "pausing", ...credential });
      expectRefused(proxy, result, [503, "sandbox_not_ready"]);
    }
  });
});

describe("Guessing signatures", () => {
  test.each(FORMS)(
    "a client that guesses in %s form is throttled at that sandbox, and nobody else is",
    async (form) => {
      const proxy = stage.start("batchsandbox", form, { accessKeys: ACCESS_KEYS });
      const guesser = { proxy, form, client: "198.51.100.7" } as const;
      for (let left = FAILURE_BURST; left > 0; left--) {
        expect((await stage.shoot({ ...guesser, signature: "mismatch" })).answer.status).toBe(401);
      }
      for (const transport of TRANSPORTS) {
        for (const signature of ["mismatch", "valid"] as const) {
          const result = await stage.shoot({ ...guesser, signature, transport });
          expectRefused(proxy, result, [429, "access_throttled"]);
          expect(headerValues(result.answer, "retry-after")).toEqual(["10"]);
        }
      }
      expectPassed(await stage.shoot({ ...guesser, presented: "right" }), "http", "/x");
      expectPassed(await stage.shoot({ ...guesser, signature: "valid", client: "198.51.100.8" }), "http", "/x");
      expectPassed(await stage.shoot({ ...guesser, sandbox: "open" }), "http", "/x");
      const other = await stage.shoot({ ...guesser, sandbox: "pausing", signature: "valid" });
      expectRefused(proxy, other, [503, "sandbox_not_ready"]);
    },
  );

  test("an IPv6 client cannot guess on with another address of its network", async () => {
    const proxy = stage.start("batchsandbox", "header", { accessKeys: ACCESS_KEYS });
    for (let each = 0; each < FAILURE_BURST; each++) {
      await stage.shoot({ proxy, form: "header", signature: "mismatch", client: `2001:db8:1:2::${each.toString(16)}` });
    }
    const inside = await stage.shoot({ proxy, form: "header", signature: "valid", client: "2001:db8:1:2:ffff::1" });
    expect(inside.answer.status).toBe(429);
    const outside = await stage.shoot({ proxy, form: "header", signature: "valid", client: "2001:db8:1:3::1" });
    expectPassed(outside, "http", "/x");
  });
});

describe("A crowd that guesses", () => {
  // What a private peer writes into X-Forwarded-For is believed here, so each guess comes from a client of its own.
  test.each(FORMS)(
    "new links in %s form get 429 while a sandbox's budget is used up; the token and a link that verified before pass",
    async (form) => {
      const accessClock = createFakeClock();
      const proxy = stage.start("batchsandbox", form, { accessKeys: ACCESS_KEYS, accessClock });
      const reader = { proxy, form, client: "198.51.100.7" } as const;
      const { answer, signature: link } = await stage.shoot({ ...reader, signature: "valid" });
      expect(answer.status).toBe(200);
      for (let left = SANDBOX_FAILURE_BURST; left > 0; left--) {
        expect((await stage.shoot({ proxy, form, signature: "unknown key" })).answer.status).toBe(401);
      }
      for (const transport of TRANSPORTS) {
        const guess = await stage.shoot({ proxy, form, transport, signature: "unknown key" });
        expectRefused(proxy, guess, [429, "access_throttled_sandbox"]);
        const fresh = { expiresB36: "zzzzzz", signature: "00000000a" };
        const refused = await stage.shoot({ ...reader, transport, link: fresh });
        expectRefused(proxy, refused, [429, "access_throttled_sandbox"]);
        expect(headerValues(refused.answer, "retry-after")).toEqual(["10"]);
        expectPassed(await stage.shoot({ ...reader, transport, link }), transport, "/x");
        expectPassed(await stage.shoot({ proxy, form, transport, link }), transport, "/x");
        expectPassed(await stage.shoot({ ...reader, transport, presented: "right" }), transport, "/x");
        expectPassed(await stage.shoot({ ...reader, transport, sandbox: "open" }), transport, "/x");
        const expired = await stage.shoot({ ...reader, transport, signature: "expired" });
        expectRefused(proxy, expired, [401, "access_expired"]);
        const other = await stage.shoot({ ...reader, transport, sandbox: "pausing", signature: "valid" });
        expectRefused(proxy, other, [503, "sandbox_not_ready"]);
      }
      accessClock.advance(SANDBOX_FAILURE_LEAK_MS);
      const late = await stage.shoot({ ...reader, link: { expiresB36: "zzzzzz", signature: "00000000a" } });
      expectRefused(proxy, late, [401, "signature_invalid"]);
    },
  );

  test("a peer that is not trusted cannot take another client's budget with X-Forwarded-For", async () => {
    const proxy = stage.start("batchsandbox", "header", { accessKeys: ACCESS_KEYS, trustedProxies: "::1" });
    const victim = { proxy, form: "header", client: "198.51.100.7" } as const;
    for (let left = FAILURE_BURST; left > 0; left--) await stage.shoot({ ...victim, signature: "unknown key" });
    expectRefused(proxy, await stage.shoot({ ...victim, signature: "valid" }), [429, "access_throttled"]);
    expect(proxy.accessLog.at(-1)?.clientAddress).toBe("127.0.0.1");
    const other = await stage.shoot({ ...victim, client: "198.51.100.8", signature: "valid" });
    expectRefused(proxy, other, [429, "access_throttled"]);
    expectPassed(await stage.shoot({ ...victim, peer: "::1", signature: "valid" }), "http", "/x");
  });

  test("a trusted peer that names a client cannot use the client's budget at another peer", async () => {
    const proxy = stage.start("batchsandbox", "header", { accessKeys: ACCESS_KEYS });
    const victim = { proxy, form: "header", client: "198.51.100.7" } as const;
    const attacker = { ...victim, peer: "::1" } as const;
    for (let left = FAILURE_BURST; left > 0; left--) await stage.shoot({ ...attacker, signature: "unknown key" });
    expectRefused(proxy, await stage.shoot({ ...attacker, signature: "valid" }), [429, "access_throttled"]);
    expectPassed(await stage.shoot({ ...victim, signature: "valid" }), "http", "/x");
  });
});

describe("Secrets", () => {
  test("the access log carries neither token nor signature", async () => {
    const proxy = stage.start("batchsandbox", "uri", { accessKeys: ACCESS_KEYS });
    const shots = [
      await stage.shoot({ proxy, form: "uri", signature: "mismatch" }),
      await stage.shoot({ proxy, form: "uri", signature: "valid" }),
      await stage.shoot({ proxy, form: "uri", signature: "valid", presented: "wrong" }),
      await stage.shoot({ proxy, form: "uri", signature: "mismatch", presented: "right" }),
    ];
    await eventually(() => proxy.accessLog.length === shots.length);
    const text = JSON.stringify(proxy.accessLog);
    expect(text).not.toContain(ACCESS_TOKEN);
    for (const { signature } of shots) {
      if (signature === undefined) throw new Error("the route was not signed");
      expect(text).not.toContain(signature.signature);
      expect(text).not.toContain(signature.expiresB36);
    }
  });
});
