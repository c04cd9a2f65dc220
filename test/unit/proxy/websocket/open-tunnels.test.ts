import { describe, expect, test } from "bun:test";

import { createTunnels, type OpenTunnel } from "../../../../src/proxy/websocket/open-tunnels.ts";
import { createFakeClock } from "../../../../scripts/lib/stage/fake-clock.ts";

const SPREAD_MS = 16_000;

/** Tunnels whose clients answer a Close after `answerMs`; undefined: never. */
function createStage(answerMs: number | undefined) {
  const clock = createFakeClock();
  const told: number[] = [];
  const tunnels = createTunnels({ frameRate: 0 }, { clock, onOpened: () => {}, onClosed: () => {} });
  const open = (): void => {
    let isClosing = false;
    const tunnel: OpenTunnel = {
      goAway() {
        if (isClosing) return;
        isClosing = true;
        told.push(clock.monotonic());
        if (answerMs === 0) tunnels.delete(tunnel);
        else if (answerMs !== undefined) clock.setTimer(answerMs, () => tunnels.delete(tunnel));
      },
      safely: (run) => run(),
      sweep: () => 0,
      finishedAt: undefined,
      hold() {},
      release() {},
      endForMemory() {},
      terminate: () => {},
    };
    tunnels.add(tunnel);
  };
  return { clock, told, tunnels, open };
}

/** Moves the clock in small steps, so that code that waits for it runs in between. */
async function pass(stage: ReturnType<typeof createStage>, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 80) {
    stage.clock.advance(80);
    await Promise.resolve();
    await Promise.resolve();
  }
}

describe("createTunnels", () => {
  test.each([["at once", 0] as const, ["after a second", 1_000] as const, ["never", undefined] as const])(
    "closeAll spreads the Close of 1,000 tunnels evenly if their clients answer %s",
    async (_name, answerMs) => {
      const stage = createStage(answerMs);
      for (let i = 0; i < 1_000; i++) stage.open();
      void stage.tunnels.closeAll(SPREAD_MS);
      await pass(stage, SPREAD_MS + 2_000);
      const bySecond = Array.from({ length: 18 }, (_, second) => {
        return stage.told.filter((ms) => Math.floor(ms / 1_000) === second).length;
      });
      expect(stage.told).toHaveLength(1_000);
      for (const count of bySecond.slice(0, 15)) expect(Math.abs(count - 62.5)).toBeLessThan(30);
    },
  );

  test("closeAll closes a tunnel at once if it opens meanwhile or later", async () => {
    const stage = createStage(undefined);
    for (let i = 0; i < 100; i++) stage.open();
    void stage.tunnels.closeAll(SPREAD_MS);
    await pass(stage, 1_600);
    const before = stage.told.length;
    stage.open();
    expect(stage.told).toHaveLength(before + 1);
    await pass(stage, SPREAD_MS);
    stage.open();
    expect(stage.told).toHaveLength(102);
  });
});
