import { describe, expect, test } from "bun:test";

import { createFakeClock } from "../../../../scripts/lib/stage/fake-clock.ts";
import { DEFAULT_HOLD } from "../../../../scripts/lib/stage/proxy-harness.ts";
import { createTableProvider } from "../../../../scripts/lib/stage/table-provider.ts";
import { toIngressError } from "../../../../src/errors.ts";
import { noProxyMetrics, type ProxyMetrics } from "../../../../src/metrics/metrics.ts";
import type { WakeConfig } from "../../../../src/proxy/hold/hold-config.ts";
import { WakeDesk } from "../../../../src/proxy/hold/wake-desk.ts";
import type { SandboxRecord, SandboxSleep, WakeResult } from "../../../../src/sandbox/provider.ts";

const MINUTE_MS = 60_000;

function createStage(config: Partial<WakeConfig> = {}) {
  const clock = createFakeClock(1_000_000);
  const provider = createTableProvider();
  const calls: { readonly uid: string; readonly answer: (result: WakeResult) => Promise<void> }[] = [];
  const outcomes: Parameters<ProxyMetrics["wakeAsked"]>[0][] = [];
  const failed: string[] = [];
  const left = new Set<string>();
  const desk = new WakeDesk(
    { ...DEFAULT_HOLD.wake, enabled: true, ...config },
    {
      clock,
      provider,
      waker: {
        wake(record) {
          const { promise, resolve } = Promise.withResolvers<WakeResult>();
          const answer = async (result: WakeResult) => {
            resolve(result);
            await promise;
            // What follows the answer happens in the turns after it.
            await Bun.sleep(0);
          };
          calls.push({ uid: record.uid, answer });
          return promise;
        },
      },
      metrics: { ...noProxyMetrics, wakeAsked: (outcome) => void outcomes.push(outcome) },
      isAwaited: ({ name }) => !left.has(name),
      onFailed: (record, error) => void failed.push(`${record.name} ${error.code}`),
      warn() {},
    },
  );
  const set = (name: string, sleep: SandboxSleep | undefined, change: Partial<SandboxRecord> = {}): SandboxRecord => {
    provider.set({ name, ready: sleep === undefined, notReady: sleep ?? "", sleep, endpoint: "", ...change });
    const record = provider.view.find("default", name);
    if (record === undefined) throw new Error("no record");
    return record;
  };
  const tryTo = (run: () => number): number | string => {
    try {
      return run();
    } catch (thrown) {
      return toIngressError(thrown).code;
    }
  };
  /** Joins, which must do what was foreseen, while foreseeing does nothing. */
  const join = (record: SandboxRecord): number | string => {
    const before = [calls.length, outcomes.length, desk.size];
    const foreseen = tryTo(() => desk.foresee(record).untilMs);
    expect([calls.length, outcomes.length, desk.size]).toEqual(before);
    const joined = tryTo(() => desk.join(record));
    expect(foreseen).toBe(joined);
    return joined;
  };
  /** Everybody who waited for the sandbox has left. */
  const leave = (name: string): void => void left.add(name);
  return { clock, calls, outcomes, failed, desk, set, join, leave };
}

describe("WakeDesk.join", () => {
  test("WakeDesk.join begins one wake for all, whose budget runs from its start", () => {
    const { clock, calls, outcomes, set, join } = createStage();
    const record = set("sb", "asleep");
    const untilMs = clock.monotonic() + MINUTE_MS;
    expect(join(record)).toBe(untilMs);
    clock.advance(10_000);
    expect(join(record)).toBe(untilMs);
    expect(calls.map(({ uid }) => uid)).toEqual(["uid-sb"]);
    expect(outcomes).toEqual(["triggered", "joined"]);
  });

  test("WakeDesk.join only awaits a sandbox that somebody else has told to run", () => {
    const { calls, outcomes, set, join } = createStage();
    expect(join(set("sb", "waking"))).toBeNumber();
    expect(calls).toEqual([]);
    expect(outcomes).toEqual(["joined"]);
  });

  test("WakeDesk.join wakes a sandbox at most once a minute", async () => {
    const { clock, calls, set, join } = createStage();
    join(set("sb", "asleep"));
    await calls[0]?.answer({ kind: "told" });
    set("sb", undefined);
    clock.advance(MINUTE_MS - 1);
    expect(join(set("sb", "asleep"))).toBe("sandbox_not_ready");
    clock.advance(1);
    expect(join(set("sb", "asleep"))).toBeNumber();
    expect(calls).toHaveLength(2);
  });

  test("WakeDesk.join tries a failed wake again after 1 s that grows to 60 s", async () => {
    const { clock, calls, failed, outcomes, set, join } = createStage();
    const record = set("sb", "asleep");
    for (const [index, pauseMs] of [1, 2, 4, 8, 16, 32, 60, 60].map((seconds) => seconds * 1_000).entries()) {
      expect(join(record)).toBeNumber();
      await calls[index]?.answer({ kind: "failed", reason: "no" });
      clock.advance(pauseMs - 1);
      expect(join(record)).toBe("wake_failed");
      clock.advance(1);
    }
    expect(failed).toHaveLength(8);
    expect(new Set(failed)).toEqual(new Set(["sb wake_failed"]));
    expect(outcomes.filter((outcome) => outcome === "none")).toHaveLength(8);
  });

  test("WakeDesk.join forgets failures when the sandbox runs", async () => {
    const { clock, calls, set, join } = createStage();
    join(set("sb", "asleep"));
    await calls[0]?.answer({ kind: "failed", reason: "no" });
    clock.advance(1_000);
    join(set("sb", "asleep"));
    await calls[1]?.answer({ kind: "told" });
    set("sb", undefined);
    clock.advance(MINUTE_MS);
    join(set("sb", "asleep"));
    await calls[2]?.answer({ kind: "failed", reason: "no" });
    clock.advance(1_000);
    expect(join(set("sb", "asleep"))).toBeNumber();
  });

  test("WakeDesk.join counts a failure that the controller tells, not one of before", async () => {
    const { clock, calls, failed, set, join } = createStage();
    const record = set("sb", "failed");
    clock.advance(1_000);
    join(record);
    await calls[0]?.answer({ kind: "told" });
    set("sb", "failed");
    expect(failed).toEqual([]);
    set("sb", "waking");
    clock.advance(1_000);
    set("sb", "failed");
    expect(failed).toEqual(["sb wake_failed"]);
  });

  test("WakeDesk.join makes a wake wait while too many wait for the API server, and not while sandboxes are slow", async () => {
    const { calls, set, join } = createStage({ wakeMax: 2 });
    for (const name of ["a", "b", "c", "d"]) expect(join(set(name, "asleep"))).toBeNumber();
    const uids = () => calls.map(({ uid }) => uid);
    expect(uids()).toEqual(["uid-a", "uid-b"]);
    await calls[1]?.answer({ kind: "told" });
    expect(uids()).toEqual(["uid-a", "uid-b", "uid-c"]);
    await calls[0]?.answer({ kind: "failed", reason: "broken" });
    expect(uids()).toEqual(["uid-a", "uid-b", "uid-c", "uid-d"]);
  });

  test("WakeDesk.join does not make a wake that waited and is no longer needed, and makes it when it is asked for again", async () => {
    const { clock, calls, set, join } = createStage({ wakeMax: 1 });
    const uids = () => calls.map(({ uid }) => uid);
    join(set("slow", "asleep"));
    join(set("runs", "asleep"));
    set("runs", undefined);
    const late = set("late", "asleep");
    join(late);
    clock.advance(MINUTE_MS);
    await calls[0]?.answer({ kind: "told" });
    expect(uids()).toEqual(["uid-slow"]);
    expect(join(late)).toBeNumber();
    expect(uids()).toEqual(["uid-slow", "uid-late"]);
  });

  test("WakeDesk.join has no more wakes under way than requests may wait", () => {
    const { clock, set, join } = createStage({ parkMax: 2 });
    join(set("a", "waking"));
    join(set("b", "waking"));
    expect(join(set("c", "waking"))).toBe("wake_busy");
    clock.advance(MINUTE_MS);
    expect(join(set("c", "waking"))).toBeNumber();
  });

  test("WakeDesk.join follows no longer what nobody waits for, where it has to, and wakes that at most once a minute", () => {
    const { clock, calls, desk, set, join, leave } = createStage({ parkMax: 2 });
    const [a, b] = [set("a", "asleep"), set("b", "asleep")];
    join(a);
    join(b);
    leave("b");
    expect(join(set("c", "asleep"))).toBeNumber();
    expect([desk.size, desk.isWaking(a.uid), desk.isWaking(b.uid)]).toEqual([2, true, false]);
    expect(calls.map(({ uid }) => uid)).toEqual(["uid-a", "uid-b", "uid-c"]);
    clock.advance(MINUTE_MS - 1);
    leave("c");
    expect(join(b)).toBe("sandbox_not_ready");
  });

  test("WakeDesk ends a wake with its budget, its sandbox, or another sandbox of the name", () => {
    const { clock, desk, set, join } = createStage();
    join(set("sb", "asleep"));
    expect(desk.size).toBe(1);
    clock.advance(MINUTE_MS);
    expect(desk.size).toBe(0);
    join(set("sb", "waking"));
    set("sb", "asleep", { uid: "another" });
    expect(desk.size).toBe(0);
  });
});

describe("WakeDesk.reasonAgainst", () => {
  const request = { method: "GET", path: "/", purpose: undefined };
  test.each([
    ["annotated", true, "", true],
    ["annotated", undefined, "", false],
    ["annotated", undefined, "token", false],
    ["annotated", false, "token", false],
    ["all", undefined, "token", true],
    ["all", undefined, "", false],
    ["all", false, "token", false],
    ["all", true, "", true],
  ] as const)(
    "WakeDesk.reasonAgainst, scope %s, annotation %p, token %p: %p",
    (scope, wakesOnAccess, accessToken, expected) => {
      const { desk, set } = createStage({ scope });
      const policy = wakesOnAccess === undefined ? undefined : { wakesOnAccess };
      expect(desk.reasonAgainst(set("sb", "asleep", { accessToken, policy }), request) === undefined).toBe(expected);
      expect(desk.reasonAgainst(set("sb", undefined, { accessToken, policy }), request) === undefined).toBe(false);
    },
  );

  test.each([
    [{ method: "HEAD" }, false],
    [{ method: "OPTIONS" }, false],
    [{ path: "/favicon.ico" }, false],
    [{ path: "/robots.txt" }, false],
    [{ path: "/a/favicon.ico" }, true],
    [{ purpose: "prefetch" }, false],
    [{ purpose: "prefetch;prerender" }, false],
    [{ method: "POST" }, true],
  ])("WakeDesk.reasonAgainst %p: %p", (change, expected) => {
    const { desk, set } = createStage();
    const record = set("sb", "asleep", { policy: { wakesOnAccess: true } });
    expect(desk.reasonAgainst(record, { ...request, ...change }) === undefined).toBe(expected);
  });
});
