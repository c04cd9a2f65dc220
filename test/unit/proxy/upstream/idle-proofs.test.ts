import { describe, expect, test } from "bun:test";

import { ExchangeShare, type SharingExchange } from "../../../../src/proxy/exchange/share.ts";
import {
  IDLE_PROOF_MS,
  IdleProofs,
  NEXT_ATTEMPT_MS,
  PROOF_PORTS_MAX,
  type Standing,
  WatchSlots,
  WATCHES_MAX,
} from "../../../../src/proxy/upstream/idle-proofs.ts";
import { createFakeClock } from "../../../../scripts/lib/stage/fake-clock.ts";

/** Longer than the time between the two checks of a watch. */
const WATCH_MS = 2 * IDLE_PROOF_MS;

type Inodes = ReadonlySet<number> | undefined;

const turn = () => new Promise((resolve) => setImmediate(resolve));

function createStage(slots = new WatchSlots()) {
  const clock = createFakeClock();
  const share = new ExchangeShare();
  const asked: string[] = [];
  let answers: Inodes[] = [];
  let retired = 0;
  const proofs = new IdleProofs(share, {
    clock,
    slots,
    openConnections(address, port) {
      asked.push(`${address} ${port}`);
      return Promise.resolve(answers.shift());
    },
  });
  const offer = (port: number, dialled = `10.0.0.7:${port}`): void => {
    proofs.offer({ retire: () => void retired++ }, { dialled, port });
  };
  return {
    clock,
    share,
    proofs,
    asked,
    offer,
    retired: () => retired,
    /** Opens an exchange; returns a function that ends it. */
    open(port: number, state = "streaming"): () => void {
      const exchange: SharingExchange = { state, subject: { route: { port } }, cut: () => {} };
      const slot = share.exchanges.add(exchange);
      return () => share.exchanges.remove(slot);
    },
    /** Watches a port to the end. `between` runs between the two checks. */
    async watch(port: number, options: { looks: Inodes[]; afterFirst?: () => void; late?: () => void }): Promise<void> {
      answers = [...options.looks];
      offer(port);
      await turn();
      options.afterFirst?.();
      clock.advance(IDLE_PROOF_MS);
      await turn();
      options.late?.();
      clock.advance(WATCH_MS);
      await turn();
    },
    standing: (port: number) => proofs.standing(port, clock.monotonic()),
  };
}

describe("IdleProofs.standing", () => {
  test.each<[string, Inodes[], Standing]>([
    ["a connection is there both times", [new Set([1]), new Set([1])], "keeps"],
    ["a connection is there both times, among others", [new Set([1, 2, 3]), new Set([4, 2])], "keeps"],
    ["there is none at first", [new Set()], "closes"],
    ["the connection is gone", [new Set([1]), new Set()], "closes"],
    ["another connection has come", [new Set([1]), new Set([2])], "closes"],
    ["the kernel does not tell at first", [undefined], "keeps"],
    ["the kernel does not tell later", [new Set([1]), undefined], "keeps"],
  ])("%s", async (_, looks, expected) => {
    const stage = createStage();
    expect(stage.standing(80)).toBe("untested");
    await stage.watch(80, { looks });
    expect(stage.standing(80)).toBe(expected);
    expect(stage.retired()).toBe(1);
    expect(stage.standing(81)).toBe("untested");
  });

  test("a connection proves nothing if an open request may use it; requests to other ports or without a connection do not matter", async () => {
    const looks: Inodes[] = [new Set([1]), new Set([1])];
    const used = createStage();
    used.open(80);
    await used.watch(80, { looks });
    expect(used.standing(80)).toBe("closes");

    const other = createStage();
    other.open(81);
    other.open(80, "receiving");
    other.open(80, "leaving");
    await other.watch(80, { looks });
    expect(other.standing(80)).toBe("keeps");

    const one = createStage();
    one.open(80);
    await one.watch(80, { looks: [new Set([1, 2]), new Set([1, 2])] });
    expect(one.standing(80)).toBe("keeps");
  });

  test("requests that end between the checks took their connections along, unless they began before the watch", async () => {
    const looks: Inodes[] = [new Set([1]), new Set([1])];
    const older = createStage();
    const endOlder = older.open(80);
    await older.watch(80, { looks, afterFirst: endOlder });
    expect(older.standing(80)).toBe("closes");

    const late = createStage();
    let endLate = (): void => {};
    // Begins in the turn of the first check, and ends right before the second.
    queueMicrotask(() => (endLate = late.open(80)));
    await late.watch(80, { looks, late: () => endLate() });
    expect(late.standing(80)).toBe("closes");

    const early = createStage();
    let endEarly = (): void => {};
    queueMicrotask(() => (endEarly = early.open(80)));
    await early.watch(80, { looks, afterFirst: () => endEarly() });
    expect(early.standing(80)).toBe("keeps");
  });

  test("a port without a proof is tried again later; a lost POST is remembered for good", async () => {
    const stage = createStage();
    await stage.watch(80, { looks: [new Set()] });
    expect(stage.standing(80)).toBe("closes");
    stage.clock.advance(NEXT_ATTEMPT_MS);
    expect(stage.standing(80)).toBe("untested");
    await stage.watch(80, { looks: [new Set([1]), new Set([1])] });
    expect(stage.standing(80)).toBe("keeps");
    stage.proofs.refute(80);
    stage.clock.advance(1_000 * NEXT_ATTEMPT_MS);
    expect(stage.standing(80)).toBe("closes");
    stage.offer(80);
    expect(stage.proofs.isWatching(80)).toBe(false);
    expect(stage.retired()).toBe(3);
  });

  test("one port of a generation is watched at a time, and at most WATCHES_MAX in all", async () => {
    const slots = new WatchSlots();
    const stages = Array.from({ length: WATCHES_MAX }, () => createStage(slots));
    for (const stage of stages) stage.offer(80);
    const [first] = stages;
    expect(first?.proofs.isWatching(80)).toBe(true);
    expect(first?.proofs.isWatching(81)).toBe(false);
    expect(first?.standing(81)).toBe("closes");
    first?.offer(81);
    expect(first?.retired()).toBe(1);
    const another = createStage(slots);
    expect(another.standing(80)).toBe("closes");
    another.offer(80);
    expect(another.retired()).toBe(1);
    // The kernel told nothing, so all watches are over.
    await turn();
    expect(another.standing(80)).toBe("untested");
    expect(stages.every((stage) => stage.standing(80) === "keeps")).toBe(true);
  });

  test("at most PROOF_PORTS_MAX ports of a generation are remembered: further ones get new connections", async () => {
    const stage = createStage();
    for (let port = 1; port <= PROOF_PORTS_MAX; port++) await stage.watch(port, { looks: [undefined] });
    expect(stage.standing(PROOF_PORTS_MAX)).toBe("keeps");
    expect(stage.standing(PROOF_PORTS_MAX + 1)).toBe("closes");
    stage.offer(PROOF_PORTS_MAX + 1);
    expect(stage.asked).toHaveLength(PROOF_PORTS_MAX);
  });

  test("an ended generation watches nothing and keeps no session", async () => {
    const stage = createStage();
    stage.proofs.end();
    expect(stage.standing(80)).toBe("closes");
    stage.offer(80);
    await turn();
    expect(stage.retired()).toBe(1);
    expect(stage.asked).toEqual([]);
  });

  test("an IPv6 address is asked for without its brackets", async () => {
    const stage = createStage();
    stage.offer(80, "[fd00::7]:80");
    await turn();
    expect(stage.asked).toEqual(["fd00::7 80"]);
  });
});
