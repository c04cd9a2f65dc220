import { describe, expect, test } from "bun:test";
import { createAccessChecker } from "../../../src/access/checker.ts";
import { type AccessKeys, parseAccessKeys } from "../../../src/access/keys.ts";
import type { AccessGrant } from "../../../src/access/request.ts";
import { FailureLimiter } from "../../../src/access/failure-limiter.ts";
import { signRoute } from "../../../src/access/signature.ts";
import { formatUriRoute } from "../../../src/route/format-route.ts";
import { parseRoute } from "../../../src/route/parse-route.ts";
import { createFakeClock } from "../../../scripts/lib/stage/fake-clock.ts";

const NOW_MS = 1_900_000_000_000;
const HOUR_MS = 3_600_000;
const TOKEN = "secure-access-token-1";
const KEY_A = "a=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const KEY_B = "b=ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
const OTHER_KEY_A = "a=QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8=";
const SECURED = { accessToken: TOKEN, nowMs: NOW_MS };

function createStage({ endAtExpiry = false } = {}) {
  const clock = createFakeClock(NOW_MS);
  const state: { keys: AccessKeys | undefined } = { keys: parseAccessKeys(`${KEY_A},${KEY_B}`) };
  const failures = new FailureLimiter({ clock });
  const checker = createAccessChecker({ keys: () => state.keys, failures, clock, endAtExpiry });
  const admit = (kind: AccessGrant["kind"]): AccessGrant => {
    const target = { sandboxId: "my-sandbox", port: 8080 };
    const expiresB36 = ((NOW_MS + HOUR_MS) / 1_000).toString(36);
    const signature = signRoute(parseAccessKeys(KEY_A), "a", { ...target, expiresB36 });
    return checker.check({
      route: parseRoute(
        { path: `${formatUriRoute({ ...target, signature })}/x`, headers: new Headers(), host: "" },
        "uri",
      ),
      sandboxUid: "uid-1",
      accessToken: kind === "open" ? "" : TOKEN,
      presentedToken: kind === "token" ? TOKEN : null,
      clientAddress: "203.0.113.7",
      peerAddress: "203.0.113.7",
      nowMs: NOW_MS,
    }).grant;
  };
  return { state, checker, admit };
}

const KINDS = ["open", "token", "signature"] as const;

describe("AccessChecker.check", () => {
  test.each(KINDS)("check says that %s admitted the request, and shows no secret of it", (kind) => {
    const { admit } = createStage();
    const grant = admit(kind);
    expect(grant.kind).toBe(kind);
    const text = `${JSON.stringify(grant)} ${Bun.inspect(grant)}`;
    expect(text).not.toContain(TOKEN);
    expect(text).not.toContain("AAECAwQF");
  });

  test("check returns digests that no other checker returns", () => {
    for (const kind of ["token", "signature"] as const) {
      expect(createStage().admit(kind)).not.toEqual(createStage().admit(kind));
    }
  });
});

describe("AccessChecker.isStillGranted", () => {
  test.each(KINDS)("what %s admitted may go on while nothing changes, and when the sandbox becomes open", (kind) => {
    const { checker, admit } = createStage();
    const grant = admit(kind);
    expect(checker.isStillGranted(grant, { ...SECURED, accessToken: kind === "open" ? "" : TOKEN })).toBe(true);
    expect(checker.isStillGranted(grant, { ...SECURED, accessToken: "" })).toBe(true);
  });

  test("a connection to an open sandbox ends when it becomes secured", () => {
    const { checker, admit } = createStage();
    expect(checker.isStillGranted(admit("open"), SECURED)).toBe(false);
  });

  test("a connection of a token ends when the token changes, for any keys", () => {
    const { state, checker, admit } = createStage();
    const grant = admit("token");
    for (const accessToken of [`${TOKEN}x`, TOKEN.slice(1), "another"]) {
      expect(checker.isStillGranted(grant, { ...SECURED, accessToken })).toBe(false);
    }
    state.keys = undefined;
    expect(checker.isStillGranted(grant, SECURED)).toBe(true);
  });

  test("a connection of a signed route ends when its key changes or is removed, for any token and other keys", () => {
    const { state, checker, admit } = createStage();
    const grant = admit("signature");
    expect(checker.isStillGranted(grant, { ...SECURED, accessToken: "another" })).toBe(true);
    for (const [keys, expected] of [
      [`${KEY_B},${KEY_A}`, true],
      [KEY_A, true],
      [`${KEY_A},b=AQID`, true],
      [KEY_B, false],
      [OTHER_KEY_A, false],
      [KEY_A.replace("a=", "c="), false],
      [undefined, false],
      [KEY_A, true],
    ] as const) {
      state.keys = keys === undefined ? undefined : parseAccessKeys(keys);
      expect(checker.isStillGranted(grant, SECURED)).toBe(expected);
    }
  });

  test("a connection of a signed route continues after its expiry, unless the checker must end it", () => {
    const inTime = { ...SECURED, nowMs: NOW_MS + HOUR_MS + 999 };
    const late = { ...SECURED, nowMs: NOW_MS + HOUR_MS + 1_000 };
    for (const endAtExpiry of [false, true]) {
      const { checker, admit } = createStage({ endAtExpiry });
      expect(checker.isStillGranted(admit("signature"), inTime)).toBe(true);
      expect(checker.isStillGranted(admit("signature"), late)).toBe(!endAtExpiry);
      expect(checker.isStillGranted(admit("token"), late)).toBe(true);
    }
  });
});
