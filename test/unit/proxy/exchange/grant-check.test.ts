import { describe, expect, test } from "bun:test";

import { createAccessChecker } from "../../../../src/access/checker.ts";
import { FailureLimiter } from "../../../../src/access/failure-limiter.ts";
import type { AccessGrant } from "../../../../src/access/request.ts";
import { GrantCheck } from "../../../../src/proxy/exchange/grant-check.ts";
import { createTableProvider } from "../../../../scripts/lib/stage/table-provider.ts";
import { createExchangeStage } from "../../../support/exchange-stage.ts";

/** The period of the check, in milliseconds. */
const PERIOD_MS = 10_000;

function createStage() {
  const stage = createExchangeStage();
  const provider = createTableProvider();
  const { clock } = stage;
  const access = createAccessChecker({ keys: () => undefined, failures: new FailureLimiter({ clock }), clock });
  const faults = new Set<AccessGrant>();
  const looked: AccessGrant[] = [];
  const check = new GrantCheck(stage.register, {
    access: {
      check: (request) => access.check(request),
      isStillGranted(grant, state) {
        looked.push(grant);
        if (faults.has(grant)) throw new Error("thrown on purpose");
        return access.isStillGranted(grant, state);
      },
    },
    provider,
    clock,
  });
  const set = (accessToken: string, change: object = {}) =>
    provider.set({ name: "sb", endpoint: "10.0.0.7", accessToken, ...change });
  const admit = (token: string) => {
    const path = "/";
    const route = { form: "header", sandboxId: "sb", port: 80, path, signedPath: path, prefix: "" } as const;
    const { grant } = access.check({
      route: { ...route, signature: undefined },
      sandboxUid: "uid-sb",
      accessToken: token,
      presentedToken: token,
      clientAddress: "203.0.113.1",
      peerAddress: "203.0.113.1",
      nowMs: 0,
    });
    return stage.open({ grant });
  };
  const sweep = (): void => check.sweep(clock.monotonic());
  return { ...stage, provider, set, admit, sweep, faults, looked };
}

describe("GrantCheck.sweep", () => {
  test("cuts an exchange within the period after the token that admitted it has changed", () => {
    const { set, admit, sweep, clock } = createStage();
    set("first");
    const exchange = admit("first");
    clock.advance(PERIOD_MS);
    sweep();
    expect(exchange.cutBy).toBeUndefined();
    set("second");
    const admitted = admit("second");
    clock.advance(PERIOD_MS - 1);
    sweep();
    expect(exchange.cutBy).toBeUndefined();
    clock.advance(1);
    sweep();
    expect([exchange.cutBy?.code, admitted.cutBy]).toEqual(["access_revoked", undefined]);
  });

  test("cuts exchanges of an open sandbox that is secured now, but not of one that is open now", () => {
    const { set, admit, sweep, clock } = createStage();
    set("");
    const open = admit("");
    set("secret");
    const secured = admit("secret");
    clock.advance(PERIOD_MS);
    sweep();
    expect([open.cutBy?.code, secured.cutBy]).toEqual(["access_revoked", undefined]);
    set("");
    clock.advance(PERIOD_MS);
    sweep();
    expect(secured.cutBy).toBeUndefined();
  });

  test("leaves a deleted or replaced sandbox to the end of its generation", () => {
    const { set, admit, sweep, clock, provider } = createStage();
    set("first");
    const exchange = admit("first");
    provider.table.remove("default", "sb");
    clock.advance(PERIOD_MS);
    sweep();
    set("second", { uid: "another" });
    clock.advance(PERIOD_MS);
    sweep();
    expect(exchange.cutBy).toBeUndefined();
  });

  test("cuts what a token admitted also while a namesake of another namespace makes the id ambiguous", () => {
    const { set, admit, sweep, clock, provider } = createStage();
    set("first");
    const exchange = admit("first");
    set("first", { namespace: "other", uid: "namesake" });
    expect(provider.resolve("sb").state).toBe("ambiguous");
    clock.advance(PERIOD_MS);
    sweep();
    expect(exchange.cutBy).toBeUndefined();
    set("second");
    clock.advance(PERIOD_MS);
    sweep();
    expect(exchange.cutBy?.code).toBe("access_revoked");
  });

  test("looks at all once in a period, and not between", () => {
    const { set, admit, sweep, clock, looked } = createStage();
    set("first");
    admit("first");
    admit("first");
    for (let at = 0; at < 2 * PERIOD_MS; at += 250) {
      clock.advance(250);
      sweep();
    }
    expect(looked).toHaveLength(4);
  });

  test("ends an exchange as internal if its check throws, and checks the others", () => {
    const { set, admit, sweep, clock, faults } = createStage();
    set("first");
    const [broken, revoked] = [admit("first"), admit("first")];
    faults.add(broken.subject.grant);
    set("second");
    clock.advance(PERIOD_MS);
    sweep();
    expect([broken.cutBy?.code, revoked.cutBy?.code]).toEqual(["internal", "access_revoked"]);
  });
});
