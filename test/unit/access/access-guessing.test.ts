import { describe, expect, test } from "bun:test";
import { createAccessChecker } from "../../../src/access/checker.ts";
import { type AccessKeys, parseAccessKeys } from "../../../src/access/keys.ts";
import type { AccessRequest } from "../../../src/access/request.ts";
import { FailureLimiter, FAILURE_BURST, SANDBOX_FAILURE_BURST } from "../../../src/access/failure-limiter.ts";
import { signRoute } from "../../../src/access/signature.ts";
import { LINK_MISS_BURST, LINK_MISS_LEAK_MS } from "../../../src/access/verified-links.ts";
import { toIngressError } from "../../../src/errors.ts";
import { formatLabelRoute } from "../../../src/route/format-route.ts";
import { parseRoute } from "../../../src/route/parse-route.ts";
import type { RouteSignature } from "../../../src/route/route.ts";
import { createFakeClock } from "../../../scripts/lib/stage/fake-clock.ts";

// A crowd guesses at one sandbox, and its readers come meanwhile.

const NOW_MS = 1_900_000_000_000;
const TOKEN = "secure-access-token-1";
const TARGET = { sandboxId: "my-sandbox", port: 8080 };
const KEY_A = "a=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const KEY_B = "b=ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
const OTHER_KEY_A = "a=QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8=";

/** A link that expires in so many seconds. */
function sign(keys: AccessKeys, { keyId = "a", seconds = 3_600 } = {}): RouteSignature {
  return signRoute(keys, keyId, { ...TARGET, expiresB36: (NOW_MS / 1_000 + seconds).toString(36) });
}

function withOtherDigits({ expiresB36, signature }: RouteSignature): RouteSignature {
  return { expiresB36, signature: (signature.startsWith("0") ? "1" : "0") + signature.slice(1) };
}

function createStage() {
  const clock = createFakeClock(NOW_MS);
  const state: { keys: AccessKeys | undefined } = { keys: parseAccessKeys(`${KEY_A},${KEY_B}`) };
  const failures = new FailureLimiter({ clock });
  const checker = createAccessChecker({ keys: () => state.keys, failures, clock });
  const ask = (signature: RouteSignature | undefined, change: Partial<AccessRequest> = {}): string => {
    const label = formatLabelRoute({ ...TARGET, signature });
    try {
      return checker.check({
        route: parseRoute(
          { path: "/x", headers: new Headers({ "OpenSandbox-Ingress-To": label }), host: "" },
          "header",
        ),
        sandboxUid: "uid-1",
        accessToken: TOKEN,
        presentedToken: null,
        clientAddress: "203.0.113.7",
        peerAddress: "10.0.0.1",
        nowMs: clock.now(),
        ...change,
      }).path;
    } catch (thrown) {
      return toIngressError(thrown).code;
    }
  };
  let crowd = 0;
  /** A guess by somebody who never came before. */
  const guess = (signature: RouteSignature): string => {
    crowd++;
    return ask(signature, { clientAddress: `198.${(crowd >> 16) & 255}.${(crowd >> 8) & 255}.${crowd & 255}` });
  };
  /** Guesses until the sandbox takes no more; none of them at a link that is used here. */
  const exhaust = (keys: AccessKeys): void => {
    const wrong = withOtherDigits(sign(keys, { seconds: 1e6 }));
    for (let left = SANDBOX_FAILURE_BURST; left > 0; left--) expect(guess(wrong)).toBe("signature_invalid");
    expect(guess(wrong)).toBe("access_throttled_sandbox");
  };
  return { clock, state, keys: state.keys ?? parseAccessKeys(KEY_A), failures, checker, ask, guess, exhaust };
}

describe("AccessChecker while a crowd guesses at a sandbox", () => {
  test("check refuses new links, and lets the token and links that verified before through, from any client", () => {
    const { keys, ask, exhaust } = createStage();
    const known = sign(keys);
    expect(ask(known)).toBe("/x");
    exhaust(keys);
    expect(ask(sign(keys, { seconds: 7_200 }))).toBe("access_throttled_sandbox");
    expect(ask(sign(keys, { keyId: "b" }))).toBe("access_throttled_sandbox");
    expect(ask(known)).toBe("/x");
    expect(ask(known, { clientAddress: "192.0.2.200" })).toBe("/x");
    expect(ask(undefined, { presentedToken: TOKEN })).toBe("/x");
    expect(ask(undefined)).toBe("signature_required");
    expect(ask(sign(keys, { seconds: 7_200 }), { sandboxUid: "uid-2" })).toBe("/x");
  });

  test("check lets a reader through during ten minutes of attack, and accepts new links a while after it", () => {
    const { clock, keys, failures, ask, guess, exhaust } = createStage();
    const known = sign(keys);
    ask(known);
    exhaust(keys);
    const wrong = withOtherDigits(sign(keys, { seconds: 1e6 }));
    for (let second = 0; second < 600; second++) {
      clock.advance(1_000);
      for (let each = 0; each < 15; each++) guess(wrong);
      expect(ask(known)).toBe("/x");
    }
    expect(failures.stats().failures).toBeLessThanOrEqual(SANDBOX_FAILURE_BURST + 6_000);
    expect(ask(sign(keys, { seconds: 7_200 }))).toBe("access_throttled_sandbox");
    clock.advance(1_000);
    expect(ask(sign(keys, { seconds: 7_200 }))).toBe("/x");
  });

  test("check lets a known link through for a client that somebody at its address has throttled", () => {
    const { keys, ask } = createStage();
    const known = sign(keys);
    ask(known);
    const wrong = withOtherDigits(sign(keys, { seconds: 1e6 }));
    for (let left = FAILURE_BURST; left > 0; left--) expect(ask(wrong)).toBe("signature_invalid");
    expect(ask(wrong)).toBe("access_throttled");
    expect(ask(sign(keys, { seconds: 7_200 }))).toBe("access_throttled");
    expect(ask(known)).toBe("/x");
  });

  test("check still refuses a known link after its expiry, and links of another sandbox's uid", () => {
    const { clock, keys, ask, exhaust } = createStage();
    const known = sign(keys, { seconds: 60 });
    ask(known);
    ask(sign(keys), { sandboxUid: "uid-2" });
    exhaust(keys);
    expect(ask(sign(keys))).toBe("access_throttled_sandbox");
    clock.setWallClock(NOW_MS + 61_000);
    expect(ask(known)).toBe("access_expired");
  });

  test("check verifies a known link again, compares few wrong signatures with it, and counts each", () => {
    const { clock, keys, failures, ask, guess, exhaust } = createStage();
    const known = sign(keys);
    const forged = withOtherDigits(known);
    ask(known);
    exhaust(keys);
    const before = failures.stats().failures;
    for (let left = LINK_MISS_BURST; left > 0; left--) expect(guess(forged)).toBe("signature_invalid");
    expect(guess(forged)).toBe("access_throttled_sandbox");
    expect(failures.stats().failures).toBe(before + LINK_MISS_BURST);
    clock.advance(LINK_MISS_LEAK_MS);
    expect(ask(known)).toBe("/x");
  });

  test("check forgets the links of a key that changed or went, and keeps those of the others", () => {
    const { state, keys, ask, exhaust } = createStage();
    const [ofA, ofB] = [sign(keys), sign(keys, { keyId: "b" })];
    expect([ask(ofA), ask(ofB)]).toEqual(["/x", "/x"]);
    exhaust(keys);
    state.keys = parseAccessKeys(`${KEY_B},${KEY_A}`);
    expect([ask(ofA), ask(ofB)]).toEqual(["/x", "/x"]);
    state.keys = parseAccessKeys(`${OTHER_KEY_A},${KEY_B}`);
    expect([ask(ofA), ask(sign(state.keys)), ask(ofB)]).toEqual([
      "access_throttled_sandbox",
      "access_throttled_sandbox",
      "/x",
    ]);
    state.keys = undefined;
    expect(ask(ofB)).toBe("verifier_not_configured");
    state.keys = keys;
    expect([ask(ofA), ask(ofB)]).toEqual(["access_throttled_sandbox", "access_throttled_sandbox"]);
  });
});
