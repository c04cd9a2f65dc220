import { describe, expect, test } from "bun:test";

import {
  HIDDEN_GROWTH_BYTES,
  PROOFS_NEEDED,
  Restraint,
  type RestrainedTunnel,
} from "../../../../src/proxy/websocket/restraint.ts";
import { createRandom } from "../../../../scripts/lib/stage/random.ts";

const LOOK_MS = 50;
const MIB = 1024 * 1024;

/** A tunnel that grows by `growth` bytes in each time between two looks in which it is read. */
class FakeTunnel implements RestrainedTunnel {
  finishedAt: number | undefined;
  isRead = true;
  isEnded = false;
  readonly growth: number;

  constructor(growth: number) {
    this.growth = growth;
  }

  safely(run: () => void): void {
    run();
  }
  hold(): void {
    this.isRead = false;
  }
  release(): void {
    this.isRead = true;
  }
  endForMemory(): void {
    this.isEnded = true;
  }
}

/** Looks at tunnels again and again; `noise` gives what everything else grows or shrinks by meanwhile. */
function createStage(growths: readonly number[], noise: () => number = () => 0) {
  const restraint = new Restraint<FakeTunnel>();
  const tunnels = growths.map((growth) => new FakeTunnel(growth));
  const open = new Set(tunnels);
  let nowMs = 0;
  let residentBytes = 1_000 * MIB;
  const look = (isShort = true): void => {
    nowMs += LOOK_MS;
    residentBytes += noise();
    for (const tunnel of open) if (tunnel.isRead) residentBytes += tunnel.growth;
    restraint.look(open, nowMs, { isShort, residentBytes });
    for (const tunnel of open) if (tunnel.isEnded) open.delete(tunnel);
  };
  const run = (looks: number): void => {
    for (let i = 0; i < looks; i++) look();
  };
  return { tunnels, look, run, now: () => nowMs };
}

const endedOf = (tunnels: readonly FakeTunnel[]): number[] =>
  tunnels.flatMap(({ isEnded }, index) => (isEnded ? [index] : []));

describe("Restraint", () => {
  test("ends the tunnels that grow whenever they are read, and no other", () => {
    const { tunnels, run } = createStage([0, HIDDEN_GROWTH_BYTES, 0, 60 * MIB, HIDDEN_GROWTH_BYTES - 1]);
    run(5 + 2 * 2 * PROOFS_NEEDED + 5);
    expect(endedOf(tunnels)).toEqual([1, 3]);
  });

  test("lets a tunnel that hides memory take no more turns in a row than it needs proofs", () => {
    const { tunnels, run } = createStage([10 * MIB]);
    // The first look finds it read as everybody is; from then on every other time is its turn.
    run(2 * PROOFS_NEEDED);
    expect(endedOf(tunnels)).toEqual([]);
    run(1);
    expect(endedOf(tunnels)).toEqual([0]);
  });

  test.each([
    ["grows all the time", () => () => 10 * MIB],
    ["grows and shrinks at random", (seed: number) => createNoise(seed, 2)],
    ["grows now and then", (seed: number) => createNoise(seed, 8)],
  ] as const)("ends next to none of 30 quiet tunnels while other memory %s", (_name, create) => {
    let ended = 0;
    // Ten seconds each.
    for (let seed = 0; seed < 20; seed++) {
      const { tunnels, run } = createStage(Array<number>(30).fill(0), create(seed));
      run(200);
      ended += endedOf(tunnels).length;
    }
    // Of 600 in 200 s. Where one growth was enough, more than half of them were.
    expect(ended).toBeLessThan(30);
  });

  test("reads tunnels one after the other, and never one beside another", () => {
    const { tunnels, look } = createStage([0, 0, 0]);
    look();
    const turns: number[] = [];
    for (let i = 0; i < 6; i++) {
      turns.push(...tunnels.flatMap(({ isRead }, index) => (isRead ? [index] : [])));
      look();
    }
    expect(turns).toEqual([0, 1, 2, 0, 1, 2]);
  });

  test("always reads a tunnel that finishes messages, also in the midst of its trial", () => {
    const { tunnels, look, run, now } = createStage([10 * MIB]);
    const [tunnel] = tunnels;
    if (tunnel === undefined) throw new Error("unreachable");
    run(2);
    tunnel.finishedAt = now();
    for (let i = 0; i < 10 * PROOFS_NEEDED; i++) {
      look();
      tunnel.finishedAt = now();
      expect([tunnel.isRead, tunnel.isEnded]).toEqual([true, false]);
    }
  });

  test("reads all again when memory is no longer short, and leaves them alone", () => {
    const { tunnels, look } = createStage([10 * MIB, 0]);
    look();
    look(false);
    expect(tunnels.map(({ isRead }) => isRead)).toEqual([true, true]);
    for (const tunnel of tunnels) tunnel.isRead = false;
    look(false);
    expect(tunnels.map(({ isRead }) => isRead)).toEqual([false, false]);
  });
});

/** Answers that come, one look in `rarity`, with 20 MiB, and go later. */
function createNoise(seed: number, rarity: number): () => number {
  const random = createRandom(seed);
  let held = 0;
  return () => {
    if (random.integer(rarity) === 0) {
      held++;
      return 20 * MIB;
    }
    if (held === 0 || random.integer(2) === 0) return 0;
    held--;
    return -20 * MIB;
  };
}
