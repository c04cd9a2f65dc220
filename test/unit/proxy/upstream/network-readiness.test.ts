import { describe, expect, test } from "bun:test";

import type { IngressErrorCode } from "../../../../src/errors.ts";
import { NetworkReadiness, type NetworkReadinessConfig } from "../../../../src/proxy/upstream/network-readiness.ts";

const CONFIG: NetworkReadinessConfig = {
  windowMs: 60_000,
  maxTargets: 10,
  minAttempts: 20,
  minTargets: 5,
  minSignalTargets: 2,
  failureRatio: 0.2,
};

function createStage(change: Partial<NetworkReadinessConfig> = {}) {
  const readiness = new NetworkReadiness({ ...CONFIG, ...change }, 0);
  const reach = (uid: string, times: number) => {
    for (let i = 0; i < times; i++) readiness.note(uid, { isReached: true, code: undefined });
  };
  const fail = (uid: string, times: number, code: IngressErrorCode = "upstream_unreachable") => {
    for (let i = 0; i < times; i++) readiness.note(uid, { isReached: false, code });
  };
  return { readiness, reach, fail };
}

describe("NetworkReadiness.isDegraded", () => {
  test("NetworkReadiness.isDegraded needs attempts, targets, signals and their share", () => {
    const { readiness, reach, fail } = createStage();
    expect(readiness.isDegraded(0)).toBe(false);
    for (const uid of ["a", "b", "c", "d"]) reach(uid, 4);
    fail("a", 4);
    // Twenty attempts at four sandboxes.
    expect(readiness.isDegraded(0)).toBe(false);
    reach("e", 1);
    // Five sandboxes, one that signals.
    expect(readiness.isDegraded(0)).toBe(false);
    fail("b", 1);
    expect(readiness.isDegraded(0)).toBe(true);
    reach("c", 10);
    expect(readiness.isDegraded(0)).toBe(false);
  });

  test.each(["upstream_refused", "upstream_reset", "upstream_timeout"] as const)(
    "NetworkReadiness.isDegraded takes %s for an attempt, and for no signal",
    (code) => {
      const { readiness, fail } = createStage({ minTargets: 1, minSignalTargets: 1, failureRatio: 0.5 });
      fail("a", 10);
      fail("b", 11, code);
      expect(readiness.isDegraded(0)).toBe(false);
      fail("a", 1);
      expect(readiness.isDegraded(0)).toBe(true);
    },
  );

  test.each(["upstream_unresolved", "client_closed", "sandbox_not_ready", "draining"] as const)(
    "NetworkReadiness.isDegraded takes %s for no attempt",
    (code) => {
      const { readiness, fail } = createStage({ minTargets: 1, minSignalTargets: 1, failureRatio: 0.5 });
      fail("a", 10);
      fail("b", 100, code);
      expect(readiness.isDegraded(0)).toBe(false);
      fail("a", 10);
      expect(readiness.isDegraded(0)).toBe(true);
    },
  );

  test("NetworkReadiness.isDegraded forgets what is older than the window", () => {
    const { readiness, fail } = createStage({ minTargets: 1, minSignalTargets: 1 });
    fail("a", 20);
    expect(readiness.isDegraded(49_999)).toBe(true);
    expect(readiness.isDegraded(60_000)).toBe(false);
    fail("a", 20);
    expect(readiness.isDegraded(60_000)).toBe(true);
    expect(readiness.isDegraded(1_000_000)).toBe(false);
  });

  test("NetworkReadiness.isDegraded remembers a limited number of sandboxes", () => {
    const { readiness, reach, fail } = createStage({ minTargets: 1, minSignalTargets: 1 });
    for (let i = 0; i < 10; i++) reach(`known-${i}`, 2);
    for (let i = 0; i < 1_000; i++) fail(`unknown-${i}`, 1);
    expect(readiness.isDegraded(0)).toBe(false);
    fail("known-1", 5);
    expect(readiness.isDegraded(0)).toBe(true);
  });
});
