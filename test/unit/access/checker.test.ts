import { describe, expect, test } from "bun:test";
import { createAccessChecker } from "../../../src/access/checker.ts";
import { parseAccessKeys, type AccessKeys } from "../../../src/access/keys.ts";
import type { AccessRequest, Admission } from "../../../src/access/request.ts";
import { FailureLimiter, FAILURE_BURST, FAILURE_REFILL_MS } from "../../../src/access/failure-limiter.ts";
import { signRoute } from "../../../src/access/signature.ts";
import { type IngressError, type IngressErrorCode, toIngressError } from "../../../src/errors.ts";
import { buildRefusal } from "../../../src/proxy/report/refusal.ts";
import { formatLabelRoute, formatUriRoute } from "../../../src/route/format-route.ts";
import { parseRoute } from "../../../src/route/parse-route.ts";
import type { Route, RouteForm, RouteSignature } from "../../../src/route/route.ts";
import { createFakeClock } from "../../../scripts/lib/stage/fake-clock.ts";

const NOW_MS = 1_900_000_000_000;
const NOW_B36 = (NOW_MS / 1000).toString(36);
const BEFORE_B36 = (NOW_MS / 1000 - 1).toString(36);
const TOKEN = "secure-access-token-1";
const KEYS = parseAccessKeys("a=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=,b=AQID");
const FORMS: readonly RouteForm[] = ["header", "host", "uri"];

const FIELDS = { sandboxId: "my-sandbox", port: 8080 };
const valid = signRoute(KEYS, "a", { ...FIELDS, expiresB36: NOW_B36 });

/** What a request can show as the signature of its route. */
const SIGNATURES = {
  none: undefined,
  valid,
  "valid, other key": signRoute(KEYS, "b", { ...FIELDS, expiresB36: NOW_B36 }),
  expired: signRoute(KEYS, "a", { ...FIELDS, expiresB36: BEFORE_B36 }),
  "unknown key": { ...valid, signature: `${valid.signature.slice(0, 8)}c` },
  mismatch: { ...valid, signature: "00000000a" },
  "of another port": signRoute(KEYS, "a", { ...FIELDS, port: 8081, expiresB36: NOW_B36 }),
  "of another sandbox": signRoute(KEYS, "a", { ...FIELDS, sandboxId: "my-sandbox-2", expiresB36: NOW_B36 }),
} as const satisfies Record<string, RouteSignature | undefined>;
type SignatureKind = keyof typeof SIGNATURES;
const SIGNATURE_KINDS: readonly SignatureKind[] = [
  "none",
  "valid",
  "valid, other key",
  "expired",
  "unknown key",
  "mismatch",
  "of another port",
  "of another sandbox",
];

function buildRoute(form: RouteForm, signature: RouteSignature | undefined): Route {
  const target = { ...FIELDS, signature };
  if (form === "uri") {
    return parseRoute({ path: `${formatUriRoute(target)}/x`, headers: new Headers(), host: "" }, "uri");
  }
  const label = formatLabelRoute(target);
  const headers = new Headers(form === "header" ? { "OpenSandbox-Ingress-To": label } : {});
  return parseRoute({ path: "/x", headers, host: form === "host" ? `${label}.test` : "" }, "header");
}

function buildRequest(form: RouteForm, kind: SignatureKind, change: Partial<AccessRequest> = {}): AccessRequest {
  return {
    route: buildRoute(form, SIGNATURES[kind]),
    sandboxUid: "uid-1",
    accessToken: TOKEN,
    presentedToken: null,
    clientAddress: "203.0.113.7",
    peerAddress: "203.0.113.7",
    nowMs: NOW_MS,
    ...change,
  };
}

function createChecker(keys: AccessKeys | undefined = KEYS) {
  const clock = createFakeClock();
  const failures = new FailureLimiter({ clock });
  return { clock, failures, checker: createAccessChecker({ keys: () => keys, failures, clock }) };
}

/** The path that was granted, or the code of the refusal. */
function outcomeOf(run: () => Admission): string {
  try {
    return run().path;
  } catch (thrown) {
    return toIngressError(thrown).code;
  }
}

function refusalOf(run: () => Admission): IngressError {
  try {
    run();
  } catch (thrown) {
    return toIngressError(thrown);
  }
  throw new Error("nothing was refused");
}

/** The path with the credential still in it, in the one form that has it there. */
function plainPath(form: RouteForm, kind: SignatureKind): string {
  const signature = SIGNATURES[kind];
  return form === "uri" && signature !== undefined ? `/${signature.expiresB36}/${signature.signature}/x` : "/x";
}

const CELLS = FORMS.flatMap((form) => SIGNATURE_KINDS.map((kind) => [form, kind] as const));

describe("AccessChecker, sandbox not secured", () => {
  test.each(CELLS)("check passes an ordinary path in %s form, signature %s, and verifies nothing", (form, kind) => {
    for (const presentedToken of [null, "", "any", TOKEN]) {
      const { checker, failures, clock } = createChecker();
      const request = buildRequest(form, kind, { accessToken: "", presentedToken });
      expect(checker.check(request).path).toBe(plainPath(form, kind));
      const keyless = createAccessChecker({
        keys: () => {
          throw new Error("the keys were asked for");
        },
        failures,
        clock,
      });
      expect(keyless.check(request).path).toBe(plainPath(form, kind));
      expect(failures.stats().failures).toBe(0);
    }
  });
});

describe("AccessChecker, sandbox secured, token right", () => {
  test.each(CELLS)(
    "check passes in %s form, signature %s, and takes out only a credential that verifies",
    (form, kind) => {
      const isCredential = kind === "valid" || kind === "valid, other key";
      for (const presentedToken of [TOKEN, ` ${TOKEN}\t`]) {
        const { checker, failures } = createChecker();
        const request = buildRequest(form, kind, { presentedToken });
        expect(checker.check(request).path).toBe(isCredential ? "/x" : plainPath(form, kind));
        expect(failures.stats().failures).toBe(0);
      }
    },
  );

  test.each(CELLS)("check passes in %s form, signature %s, without keys, as an ordinary path", (form, kind) => {
    const checker = createAccessChecker({ ...createChecker(), keys: () => undefined });
    expect(checker.check(buildRequest(form, kind, { presentedToken: TOKEN })).path).toBe(plainPath(form, kind));
  });
});

describe("AccessChecker, sandbox secured, token wrong", () => {
  test.each(CELLS)("check refuses in %s form, signature %s, and never falls back to the signature", (form, kind) => {
    for (const presentedToken of [
      "",
      " ",
      "wrong",
      TOKEN.slice(0, -1),
      `${TOKEN}x`,
      TOKEN.toUpperCase(),
      `${TOKEN}, ${TOKEN}`,
    ]) {
      const { checker, failures } = createChecker();
      const request = buildRequest(form, kind, { presentedToken });
      expect(outcomeOf(() => checker.check(request))).toBe("token_mismatch");
      expect(failures.stats().failures).toBe(0);
    }
  });
});

describe("AccessChecker, sandbox secured, no token", () => {
  const expected: Readonly<Record<SignatureKind, string>> = {
    none: "signature_required",
    valid: "/x",
    "valid, other key": "/x",
    expired: "access_expired",
    "unknown key": "signature_invalid",
    mismatch: "signature_invalid",
    "of another port": "signature_invalid",
    "of another sandbox": "signature_invalid",
  };

  test.each(CELLS)("check decides by the signature in %s form, signature %s", (form, kind) => {
    expect(outcomeOf(() => createChecker().checker.check(buildRequest(form, kind)))).toBe(expected[kind]);
  });

  test.each(CELLS)("check cannot decide without keys in %s form, signature %s", (form, kind) => {
    const checker = createAccessChecker({ ...createChecker(), keys: () => undefined });
    const outcome = outcomeOf(() => checker.check(buildRequest(form, kind)));
    expect(outcome).toBe(kind === "none" ? "signature_required" : "verifier_not_configured");
  });

  test("check accepts a signed route to the end of its second", () => {
    const { checker } = createChecker();
    expect(checker.check(buildRequest("header", "valid", { nowMs: NOW_MS + 999 })).path).toBe("/x");
    const late = buildRequest("header", "valid", { nowMs: NOW_MS + 1_000 });
    expect(outcomeOf(() => checker.check(late))).toBe("access_expired");
  });

  test("check uses the current keys", () => {
    let keys: AccessKeys | undefined = parseAccessKeys("a=b3RoZXI=");
    const checker = createAccessChecker({ ...createChecker(), keys: () => keys });
    expect(outcomeOf(() => checker.check(buildRequest("uri", "valid")))).toBe("signature_invalid");
    keys = KEYS;
    expect(checker.check(buildRequest("uri", "valid")).path).toBe("/x");
    keys = undefined;
    expect(outcomeOf(() => checker.check(buildRequest("uri", "valid")))).toBe("verifier_not_configured");
  });

  test("check lets an exception of the key source through: access is refused, not granted", () => {
    const checker = createAccessChecker({
      ...createChecker(),
      keys: () => {
        throw new Error("no keys");
      },
    });
    expect(outcomeOf(() => checker.check(buildRequest("uri", "valid")))).toBe("internal");
  });
});

describe("AccessChecker's answers", () => {
  test("every 401 has the same text and headers", async () => {
    const refused: readonly (readonly [IngressErrorCode, AccessRequest])[] = [
      ["signature_required", buildRequest("uri", "none")],
      ["token_mismatch", buildRequest("header", "valid", { presentedToken: "x" })],
      ["access_expired", buildRequest("host", "expired")],
      ["signature_invalid", buildRequest("uri", "mismatch")],
    ];
    const shown = new Set<string>();
    for (const [code, request] of refused) {
      const error = refusalOf(() => createChecker().checker.check(request));
      expect(error.code).toBe(code);
      const plain = new Request("http://x/");
      const options = { closeConnection: false, requestId: "r", route: undefined, countsAsUse: false };
      const answer = buildRefusal(plain, error, options);
      shown.add(JSON.stringify([answer.status, [...answer.headers], await answer.text()]));
    }
    expect(shown.size).toBe(1);
    expect([...shown][0]).toStartWith("[401,");
  });
});

describe("AccessChecker under guessing", () => {
  function guess(
    checker: ReturnType<typeof createChecker>["checker"],
    times: number,
    change: Partial<AccessRequest> = {},
  ) {
    return Array.from({ length: times }, () => outcomeOf(() => checker.check(buildRequest("uri", "mismatch", change))));
  }

  test("check throttles a client's signatures of one sandbox, right ones too, before it compares", () => {
    const { checker, clock } = createChecker();
    expect(new Set(guess(checker, FAILURE_BURST))).toEqual(new Set(["signature_invalid"]));
    expect(outcomeOf(() => checker.check(buildRequest("uri", "unknown key")))).toBe("access_throttled");
    expect(outcomeOf(() => checker.check(buildRequest("uri", "mismatch")))).toBe("access_throttled");
    expect(outcomeOf(() => checker.check(buildRequest("header", "valid")))).toBe("access_throttled");
    clock.advance(FAILURE_REFILL_MS);
    expect(checker.check(buildRequest("header", "valid")).path).toBe("/x");
    const again = () => outcomeOf(() => checker.check(buildRequest("uri", "unknown key")));
    expect([again(), again()]).toEqual(["signature_invalid", "access_throttled"]);
  });

  test("check counts unknown key ids like mismatches", () => {
    const { checker } = createChecker();
    for (let left = FAILURE_BURST; left > 0; left--) {
      expect(outcomeOf(() => checker.check(buildRequest("host", "unknown key")))).toBe("signature_invalid");
    }
    expect(outcomeOf(() => checker.check(buildRequest("host", "unknown key")))).toBe("access_throttled");
  });

  test("check lets the token, other clients, other sandboxes and open sandboxes through meanwhile", () => {
    const { checker } = createChecker();
    guess(checker, 3 * FAILURE_BURST);
    expect(checker.check(buildRequest("uri", "none", { presentedToken: TOKEN })).path).toBe("/x");
    expect(checker.check(buildRequest("uri", "valid", { presentedToken: TOKEN })).path).toBe("/x");
    expect(checker.check(buildRequest("uri", "valid", { clientAddress: "203.0.113.8" })).path).toBe("/x");
    expect(checker.check(buildRequest("uri", "valid", { sandboxUid: "uid-2" })).path).toBe("/x");
    expect(checker.check(buildRequest("uri", "none", { accessToken: "" })).path).toBe("/x");
  });

  test("check does not count missing and expired signatures, nor wrong tokens", () => {
    const { checker, failures } = createChecker();
    for (let left = 2 * FAILURE_BURST; left > 0; left--) {
      outcomeOf(() => checker.check(buildRequest("uri", "none")));
      outcomeOf(() => checker.check(buildRequest("uri", "expired")));
      outcomeOf(() => checker.check(buildRequest("uri", "mismatch", { presentedToken: "wrong" })));
      outcomeOf(() => checker.check(buildRequest("uri", "mismatch", { presentedToken: TOKEN })));
    }
    expect(failures.stats().failures).toBe(0);
    expect(checker.check(buildRequest("uri", "valid")).path).toBe("/x");
  });
});
