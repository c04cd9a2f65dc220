import { describe, expect, test } from "bun:test";

import { eventually } from "../../scripts/lib/eventually.ts";
import { DEFAULT_HOLD } from "../../scripts/lib/stage/proxy-harness.ts";
import { noProxyMetrics, type ParkOutcome } from "../../src/metrics/proxy-metrics.ts";
import { noRenewPublisher } from "../../src/renew/publisher.ts";
import type { SandboxRecord, WakeResult } from "../../src/sandbox/provider.ts";
import type { HoldConfig } from "../../src/proxy/hold/hold-config.ts";
import { toAskedRequest } from "../../src/proxy/explain/question.ts";
import { policyOf } from "../support/policy-of.ts";
import { type AskOptions, NOT_READY, startHoldStage } from "../support/hold-stage.ts";

const PAUSED: Partial<SandboxRecord> = { sleep: "asleep", policy: policyOf({ "wake-on-access": "true" }) };

/** A proxy that wakes paused sandboxes. The waker only notes what it is told. */
function startWakeStage(holdMs = 0, result: WakeResult = { kind: "told" }, hold: Partial<HoldConfig> = {}) {
  const woken: string[] = [];
  const offered: string[] = [];
  const parks: (ParkOutcome | "parked")[] = [];
  const stage = startHoldStage(
    { holdMs, ...hold, wake: { ...DEFAULT_HOLD.wake, enabled: true } },
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
  /** What the ingress says about a request for the sandbox, and how its step `ready` ends. */
  const explain = async (method = "GET", headers: readonly (readonly [string, string])[] = [], path = "/") => {
    const route = ["OpenSandbox-Ingress-To", `sb-${stage.port}`] as const;
    const asked = toAskedRequest({ method, target: `http://h.test${path}`, headers: [route, ...headers] });
    const { forwarded, code, wait, steps } = await stage.proxy.server.inspection.explain(asked, "127.0.0.1");
    const ready = steps.find(({ name }) => name === "ready");
    return { forwarded, code, wait: wait?.text, outcome: ready?.outcome, text: ready?.text ?? "" };
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
  return Object.assign(stage, { woken, offered, parks, traffic, explain, answer, wakeAndPause });
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

const WAKES = "would wake the sandbox, be held for up to 60 s, and then be forwarded";
const JOINS = "would be held for up to 60 s while the sandbox is woken, and then forwarded";
const NAVIGATION = [
  ["Sec-Fetch-Mode", "navigate"],
  ["Accept", "text/html"],
] as const;

describe("explainRequest of a sandbox that is not ready", () => {
  test("explainRequest says that a request would wake the sandbox, and wakes nobody", async () => {
    await using stage = startWakeStage();
    stage.setUnready("sb", PAUSED);
    const before = await stage.explain();
    expect(before).toMatchObject({ forwarded: true, code: undefined, wait: WAKES, outcome: "waits" });
    expect(before.text).toContain("a request wakes it and waits for up to 60 s before it is refused");
    const page = await stage.explain("GET", NAVIGATION);
    expect(page.wait).toBe("would wake the sandbox, be held for up to 2 s, and then be forwarded");
    expect([stage.woken, stage.held(), stage.parks]).toEqual([[], 0, []]);
    const client = await stage.ask("sb");
    await eventually(() => stage.held() === 1);
    expect(stage.woken).toEqual(["sb"]);
    const during = await stage.explain();
    expect(during.wait).toMatch(/^would be held for up to [0-9.]+ s while the sandbox is woken, and then forwarded$/);
    expect(during.text).toContain("requests that wait now: 1; the sandbox is being woken");
    stage.setReady("sb");
    expect(await client.readAnswer()).toMatchObject({ status: 200 });
    expect(await stage.explain()).toMatchObject({ forwarded: true, wait: undefined, outcome: "ok" });
  });

  test("explainRequest says that a request would wait for a wake of somebody else", async () => {
    await using stage = startWakeStage();
    stage.setUnready("sb", { ...PAUSED, sleep: "waking" });
    expect(await stage.explain()).toMatchObject({ forwarded: true, wait: JOINS, outcome: "waits" });
  });

  test("explainRequest says that a sandbox is not woken again within a minute", async () => {
    await using stage = startWakeStage();
    await stage.wakeAndPause();
    const told = await stage.explain();
    expect(told).toMatchObject({ forwarded: false, code: "sandbox_not_ready", wait: undefined, outcome: "refused" });
    expect(told.text).toEndWith("the sandbox was woken less than a minute ago, and is not woken again so soon");
    expect(await stage.answer()).toMatchObject({ status: 503 });
    expect(stage.proxy.accessLog.at(-1)).toMatchObject({ code: "sandbox_not_ready" });
  });

  test("explainRequest says that the last wake failed", async () => {
    await using stage = startWakeStage(0, { kind: "failed", reason: "forbidden" });
    stage.setUnready("sb", PAUSED);
    expect(await stage.answer()).toMatchObject({ status: 503 });
    const told = await stage.explain();
    expect(told).toMatchObject({ forwarded: false, code: "wake_failed", wait: undefined, outcome: "refused" });
    expect(told.text).toContain("the last wake failed");
  });

  test.each<readonly [string, string, Partial<SandboxRecord>, ("OPTIONS" | "GET")?, string?]>([
    ["OPTIONS wakes nobody", "HEAD, OPTIONS", PAUSED, "OPTIONS"],
    ["an ignored path wakes nobody", "HEAD, OPTIONS", PAUSED, "GET", "//favicon.ico"],
    ["the annotation is missing", "it lacks the annotation wake-on-access", { sleep: "asleep" }],
    [
      "the annotation says no",
      'its annotation wake-on-access is "false"',
      { ...PAUSED, policy: policyOf({ "wake-on-access": "false" }) },
    ],
  ])("explainRequest says why a request wakes nobody: %s", async (_, reason, record, method = "GET", path = "/") => {
    await using stage = startWakeStage();
    stage.setUnready("sb", record);
    const told = await stage.explain(method, [], path);
    expect(told).toMatchObject({ forwarded: false, code: "sandbox_not_ready", outcome: "refused" });
    expect(told.text).toContain(`the request does not wake it: ${reason}`);
    expect(await stage.answer({ method, path })).toMatchObject({ status: 503 });
    expect(stage.woken).toEqual([]);
  });

  test("explainRequest says that a request would be held, also where it wakes nobody", async () => {
    await using stage = startWakeStage(30_000);
    const held = "would be held for up to 30 s, and forwarded once the sandbox is ready";
    stage.setUnready("sb");
    expect(await stage.explain()).toMatchObject({ forwarded: true, wait: held, outcome: "waits" });
    await stage.wakeAndPause();
    const again = await stage.explain();
    expect(again).toMatchObject({ forwarded: true, wait: held, outcome: "waits" });
    expect(again.text).toContain("woken less than a minute ago");
    expect(await stage.explain("GET", NAVIGATION)).toMatchObject({ wait: held.replace("30 s", "2 s") });
  });

  test("explainRequest says that no place is free, and promises no wait without access", async () => {
    await using stage = startWakeStage(30_000, { kind: "told" }, { holdMax: 1 });
    stage.setUnready("sb", { accessToken: "secret" });
    const refused = await stage.explain();
    expect(refused).toMatchObject({
      forwarded: false,
      code: "signature_required",
      wait: undefined,
      outcome: "refused",
    });
    stage.setUnready("sb");
    await stage.ask("sb");
    await eventually(() => stage.held() === 1);
    expect(await stage.explain()).toMatchObject({ forwarded: false, code: "hold_full", outcome: "refused" });
    expect(await stage.answer()).toMatchObject({ status: 503 });
    expect(stage.proxy.accessLog.at(-1)).toMatchObject({ code: "hold_full" });
  });

  test("explainRequest says that a request would wait for a port without an address", async () => {
    await using stage = startWakeStage(30_000);
    stage.setReady("sb", { ports: new Map([[1, "127.0.0.1:1"]]) });
    const told = await stage.explain();
    expect(told).toMatchObject({ forwarded: true, outcome: "ok" });
    expect(told.wait).toStartWith("would be held for up to 30 s");
  });
});
