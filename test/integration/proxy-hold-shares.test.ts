import { describe, expect, test } from "bun:test";

import { parseAddressSet } from "../../src/address.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import type { RawConnection } from "../../scripts/lib/stage/raw-client.ts";
import { DEFAULT_HOLD } from "../../scripts/lib/stage/proxy-harness.ts";
import type { SandboxWaker } from "../../src/sandbox/provider.ts";
import { type HoldStage, startHoldStage } from "../support/hold-stage.ts";

const FULL = "OpenSandbox Ingress: too many requests wait for sandboxes\n";
const TRUSTED = { config: { trustedProxies: parseAddressSet("127.0.0.1") } };

/** Sends requests one by one, so that they arrive in this order. */
async function fill(stage: HoldStage, names: readonly string[]): Promise<readonly RawConnection[]> {
  const clients: RawConnection[] = [];
  for (const name of names) {
    const before = stage.held();
    clients.push(await stage.ask(name));
    await eventually(() => stage.held() === before + 1);
  }
  return clients;
}

function heldOf(stage: HoldStage, name: string): number {
  return [...stage.proxy.server.inspection.exchanges()].filter(({ upstream }) => upstream.name === name).length;
}

const from = (client: string) => ({ headers: [`X-Forwarded-For: ${client}`] });

describe("who uses the places to wait", () => {
  test("HoldRoom has a place for each sandbox: the one with the most gives up its newest request", async () => {
    await using stage = startHoldStage({ holdMax: 8 });
    for (const name of ["a", "b", "c", "d", "late"]) stage.setUnready(name);
    const clients = await fill(stage, ["a", "a", "b", "b", "c", "c", "d", "d"]);
    await stage.ask("late");
    expect(await clients[1]?.readAnswer()).toMatchObject({ status: 503, body: FULL });
    await eventually(() => heldOf(stage, "late") === 1);
    expect(stage.held()).toBe(8);
    // A second place would make it one of those with the most.
    expect(await (await stage.ask("late")).readAnswer()).toMatchObject({ status: 503, body: FULL });
    expect(["a", "b", "c", "d", "late"].map((name) => heldOf(stage, name))).toEqual([1, 2, 2, 2, 1]);
  });

  test("HoldRoom divides its places evenly among sandboxes whose clients all want more", async () => {
    await using stage = startHoldStage({ holdMax: 32 });
    const names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for (const name of names) stage.setUnready(name);
    for (const name of names) {
      const clients = await Promise.all(Array.from({ length: 10 }, () => stage.ask(name)));
      const refused = () => clients.filter(({ received }) => received.includes(" 503 ")).length;
      await eventually(() => heldOf(stage, name) + refused() === clients.length);
    }
    expect(stage.held()).toBe(32);
    expect(names.map((name) => heldOf(stage, name))).toEqual([4, 4, 4, 4, 4, 4, 4, 4]);
  });

  test("HoldRoom takes a place from nobody when each sandbox has one", async () => {
    await using stage = startHoldStage({ holdMax: 4 });
    const names = ["a", "b", "c", "d"];
    for (const name of [...names, "late"]) stage.setUnready(name);
    await fill(stage, names);
    expect(await (await stage.ask("late")).readAnswer()).toMatchObject({ status: 503, body: FULL });
    expect(stage.held()).toBe(4);
  });

  test("HoldRoom gives one client at a sandbox as many places as it leaves to others there", async () => {
    await using stage = startHoldStage({ holdMax: 16 }, TRUSTED);
    stage.setUnready("a");
    const stranger = await Promise.all(Array.from({ length: 4 }, () => stage.ask("a", from("198.51.100.1"))));
    await eventually(() => stage.held() + stranger.filter(({ received }) => received !== "").length === 4);
    expect(stage.held()).toBe(3);
    await stage.ask("a", from("198.51.100.2"));
    await eventually(() => stage.held() === 4);
    for (const client of stranger) client.destroy();
    await eventually(() => stage.held() === 1);
    await stage.ask("a", from("198.51.100.1"));
    await eventually(() => stage.held() === 2);
  });

  test("Holds wakes a sandbox although others use up the places to wait for a wake", async () => {
    const woken: string[] = [];
    const waker: SandboxWaker = { wake: async ({ name }) => (woken.push(name), { kind: "told" }) };
    const wake = { ...DEFAULT_HOLD.wake, enabled: true, parkMax: 4 };
    await using stage = startHoldStage({ holdMs: 0, holdMax: 64, wake }, { parts: { waker } });
    const setPaused = (name: string) => stage.setUnready(name, { sleep: "asleep", policy: { wakesOnAccess: true } });
    for (const name of ["a", "b", "late"]) setPaused(name);
    const others = await fill(stage, ["a", "a", "b"]);
    await fill(stage, ["b"]).catch(() => {});
    setPaused("c");
    await stage.ask("c");
    await stage.ask("late");
    await eventually(() => heldOf(stage, "late") === 1);
    expect(woken).toContain("late");
    expect(stage.held()).toBeLessThanOrEqual(4);
    expect(others[0]?.received).toBe("");
  });
});

describe("sandboxes that change all the time", () => {
  test("HoldRoom looks at those who wait a few times in a second, however often their sandbox changes", async () => {
    await using stage = startHoldStage();
    stage.setUnready("sb");
    await fill(
      stage,
      Array.from({ length: 5 }, () => "sb"),
    );
    const { provider } = stage.proxy;
    const resolve = provider.resolve.bind(provider);
    let looks = 0;
    Object.assign(provider, { resolve: (id: string) => (looks++, resolve(id)) });
    for (let i = 0; i < 1_000; i++) stage.setUnready("sb", { endpoint: `10.0.0.${i % 200}` });
    stage.setUnready("sb", { endpoint: "10.0.1.1" });
    await eventually(() => {
      const endpoints = [...stage.proxy.server.inspection.exchanges()].map(({ upstream }) => upstream.endpoint);
      expect(endpoints).toEqual(Array.from({ length: 5 }, () => "10.0.1.1"));
    });
    expect(looks).toBeLessThanOrEqual(10);
  });

  test("HoldRoom lets requests go to a sandbox that replaced theirs at the same rate", async () => {
    await using stage = startHoldStage({ holdReleaseRate: 1 });
    stage.listen();
    stage.setUnready("sb", { uid: "old" });
    const clients = await fill(stage, ["sb", "sb", "sb"]);
    stage.setReady("sb", { uid: "new" });
    expect(await clients[0]?.readAnswer()).toMatchObject({ status: 200 });
    expect(stage.got).toHaveLength(1);
    expect(stage.held()).toBe(2);
  });

  test("HoldRoom tells those of a deleted sandbox at once, however slowly others are let go", async () => {
    await using stage = startHoldStage({ holdReleaseRate: 1 });
    stage.listen();
    stage.setUnready("sb");
    const clients = await fill(
      stage,
      Array.from({ length: 20 }, () => "sb"),
    );
    stage.setReady("sb");
    expect(await clients[0]?.readAnswer()).toMatchObject({ status: 200 });
    stage.proxy.provider.table.remove("default", "sb");
    const rest = await Promise.all(clients.slice(1).map((client) => client.readAnswer()));
    expect(new Set(rest.map(({ status }) => status))).toEqual(new Set([404]));
  });
});

describe("wakes that fail", () => {
  test("Holds tells at once that a wake failed, also before it is tried again, and holds nobody for it", async () => {
    let calls = 0;
    const waker: SandboxWaker = { wake: async () => (calls++, { kind: "failed", reason: "broken" }) };
    const wake = { ...DEFAULT_HOLD.wake, enabled: true };
    await using stage = startHoldStage({ holdMs: 600_000, wake }, { parts: { waker } });
    stage.setUnready("sb", { sleep: "asleep", policy: { wakesOnAccess: true } });
    for (let i = 0; i < 3; i++) {
      const answer = await (await stage.ask("sb")).readAnswer();
      expect(answer).toMatchObject({ status: 503, body: "OpenSandbox Ingress: sandbox could not be woken\n" });
    }
    expect(calls).toBe(1);
    expect(stage.held()).toBe(0);
  });

  test("Holds holds a request for a sandbox that was woken within the last minute", async () => {
    const waker: SandboxWaker = { wake: async () => ({ kind: "told" }) };
    const wake = { ...DEFAULT_HOLD.wake, enabled: true };
    await using stage = startHoldStage({ wake }, { parts: { waker } });
    stage.listen();
    const setPaused = () => stage.setUnready("sb", { sleep: "asleep", policy: { wakesOnAccess: true } });
    setPaused();
    const [first] = await fill(stage, ["sb"]);
    stage.setReady("sb");
    expect(await first?.readAnswer()).toMatchObject({ status: 200 });
    setPaused();
    const [second] = await fill(stage, ["sb"]);
    stage.setReady("sb");
    expect(await second?.readAnswer()).toMatchObject({ status: 200 });
  });
});
