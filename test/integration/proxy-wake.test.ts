import { describe, expect, test } from "bun:test";

import { eventually } from "../../scripts/lib/eventually.ts";
import { DEFAULT_HOLD } from "../../scripts/lib/stage/proxy-harness.ts";
import { noProxyMetrics, type ParkOutcome } from "../../src/metrics/proxy-metrics.ts";
import { noRenewPublisher } from "../../src/renew/publisher.ts";
import type { SandboxRecord, WakeResult } from "../../src/sandbox/provider.ts";
import { policyOf } from "../support/policy-of.ts";
import { type AskOptions, NOT_READY, startHoldStage } from "../support/hold-stage.ts";

const PAUSED: Partial<SandboxRecord> = { sleep: "asleep", policy: policyOf({ "wake-on-access": "true" }) };

/** A proxy that wakes paused sandboxes. The waker only notes what it is told. */
function startWakeStage(holdMs = 0, result: WakeResult = { kind: "told" }) {
  const woken: string[] = [];
  const offered: string[] = [];
  const parks: (ParkOutcome | "parked")[] = [];
  const stage = startHoldStage(
    { holdMs, wake: { ...DEFAULT_HOLD.wake, enabled: true } },
    {
      parts: {
        waker: {
          wake({ name }) {
            woken.push(name);
            return Promise.resolve(result);
          },
        },
        metrics: {
          ...noProxyMetrics,
          parked: () => void parks.push("parked"),
          unparked: (outcome) => void parks.push(outcome),
        },
        renew: { ...noRenewPublisher, listens: true, offer: ({ record }) => void offered.push(record.name) },
      },
    },
  );
  stage.listen();
  const traffic = (name = "sb") => {
    const record = stage.proxy.provider.view.find("default", name);
    if (record === undefined) throw new Error("no record");
    return stage.proxy.server.inspection.trafficOf(record);
  };
  const answer = async (options?: AskOptions) => (await stage.ask("sb", options)).readAnswer();
  /** Wakes the sandbox with a request, and pauses it again. */
  const wakeAndPause = async (): Promise<void> => {
    stage.setUnready("sb", PAUSED);
    const first = answer();
    await eventually(() => stage.held() === 1);
    stage.setReady("sb", { policy: PAUSED.policy });
    expect(await first).toMatchObject({ status: 200 });
    await eventually(() => traffic().requests === 1);
    stage.setUnready("sb", PAUSED);
  };
  return Object.assign(stage, { woken, offered, parks, traffic, answer, wakeAndPause });
}

describe("a sandbox that was paused again within a minute of its wake", () => {
  test("Holds refuses requests at once, and they count neither as waits nor as use", async () => {
    await using stage = startWakeStage();
    await stage.wakeAndPause();
    const before = stage.traffic();
    expect(before).toMatchObject({ open: 0, requests: 1, errors: 0 });
    for (const method of ["GET", "POST"]) {
      expect(await stage.answer({ method, body: method === "POST" ? "hello" : "" })).toMatchObject({
        status: 503,
        body: `OpenSandbox Ingress: ${NOT_READY}\n`,
      });
    }
    await eventually(() => stage.proxy.accessLog.length === 3);
    expect(stage.woken).toEqual(["sb"]);
    expect(stage.parks).toEqual(["parked", "served"]);
    expect(stage.offered).toEqual(["sb"]);
    expect({ ...stage.traffic(), lastUsedMs: 0 }).toEqual({ ...before, lastUsedMs: 0 });
  });

  test("Holds lets requests wait where they may anyway, which is no wait for a wake", async () => {
    await using stage = startWakeStage(60_000);
    await stage.wakeAndPause();
    const second = stage.answer();
    await eventually(() => stage.held() === 1);
    expect(stage.parks).toEqual(["parked", "served"]);
    stage.setReady("sb");
    expect(await second).toMatchObject({ status: 200 });
    expect(stage.woken).toEqual(["sb"]);
    expect(stage.parks).toEqual(["parked", "served"]);
  });
});

describe("requests that the sandbox never got", () => {
  test("Holds counts a wake that fails as a wait, and the refusals after it neither as waits nor as use", async () => {
    await using stage = startWakeStage(0, { kind: "failed", reason: "forbidden" });
    stage.setUnready("sb", PAUSED);
    expect(await stage.answer()).toMatchObject({ status: 503 });
    expect(await stage.answer()).toMatchObject({ status: 503 });
    await eventually(() => stage.proxy.accessLog.length === 2);
    expect(stage.proxy.accessLog.map(({ code }) => code)).toEqual(["wake_failed", "wake_failed"]);
    expect(stage.parks).toEqual(["parked", "error"]);
    expect([stage.offered, stage.traffic()]).toEqual([[], { open: 0, requests: 0, errors: 0, lastUsedMs: 0 }]);
  });

  test.each(["its time is over", "its client leaves", "its sandbox gets another address"])(
    "a request that only waited is no use of the sandbox when %s",
    async (how) => {
      await using stage = startWakeStage(how === "its time is over" ? 200 : 60_000);
      stage.setUnready("sb");
      const client = await stage.ask("sb");
      await eventually(() => stage.held() === 1);
      expect(stage.traffic()).toEqual({ open: 1, requests: 0, errors: 0, lastUsedMs: 0 });
      if (how === "its sandbox gets another address") stage.setUnready("sb", { endpoint: "127.0.0.2" });
      if (how !== "its time is over") client.destroy();
      await eventually(() => stage.proxy.accessLog.length === 1);
      expect([stage.offered, stage.traffic()]).toEqual([[], { open: 0, requests: 0, errors: 0, lastUsedMs: 0 }]);
    },
  );
});
