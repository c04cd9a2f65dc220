import { describe, expect, test } from "bun:test";

import { MemoryGuard } from "../../../../src/proxy/exchange/memory-guard.ts";
import type { Exchange } from "../../../../src/proxy/exchange/exchange.ts";
import { BodyFlow } from "../../../../src/proxy/exchange/body-flow.ts";
import { STALLED_DOWNLOAD_BYTES } from "../../../../src/proxy/exchange/stalled-sizes.ts";
import { createExchangeStage } from "../../../support/exchange-stage.ts";

/** Time after which the guard takes a body for stalled, in milliseconds. */
const STALL_MS = 250;
const LIMIT = 1_000;

/** A guard with a budget for `downloads` stalled downloads. The test sets the resident memory. */
function createStage(downloads: number, options: { readonly limitBytes?: number } = {}) {
  const cutUnread: Exchange[] = [];
  const ends: { readonly exchange: Exchange; readonly code: string | undefined }[] = [];
  const end = (exchange: Exchange): void => void ends.push({ exchange, code: exchange.cutBy?.code });
  const stage = createExchangeStage({
    budgetBytes: downloads * STALLED_DOWNLOAD_BYTES,
    observer: {
      onEnd: end,
      // What its client has not read ends when Bun lets go of it.
      onCutUnread(exchange) {
        cutUnread.push(exchange);
        end(exchange);
      },
    },
  });
  const seen = { resident: undefined as number | undefined, samples: 0, collected: 0 };
  const guard = new MemoryGuard(stage.register, {
    limitBytes: options.limitBytes ?? 0,
    residentBytes() {
      seen.samples++;
      return seen.resident;
    },
    collect: () => void seen.collected++,
  });
  const look = (): void => guard.look(stage.clock.monotonic());
  const endedOf = (exchanges: readonly Exchange[]): number[] =>
    exchanges.flatMap((exchange, index) => (exchange.cutBy === undefined ? [] : [index]));
  return { ...stage, ends, cutUnread, guard, seen, look, endedOf };
}

describe("MemoryGuard and the account", () => {
  test("MemoryGuard ends no exchange that holds at most as much as is free", () => {
    const { openStalledDownload, clock, look, ends } = createStage(4);
    openStalledDownload();
    openStalledDownload();
    clock.advance(60_000);
    look();
    expect(ends).toEqual([]);
  });

  test("MemoryGuard ends no quick exchange, however much all hold", () => {
    const { openStalledDownload, clock, look, ends } = createStage(2);
    for (let i = 0; i < 10; i++) openStalledDownload();
    clock.advance(STALL_MS - 1);
    look();
    expect(ends).toEqual([]);
    clock.advance(1);
    look();
    expect(ends.length).toBeGreaterThan(0);
  });

  test("MemoryGuard ends the longest stalled exchanges until their sandbox has a fair share", () => {
    const { openStalledDownload, clock, look, ends, register } = createStage(6);
    const exchanges = Array.from({ length: 5 }, () => {
      const exchange = openStalledDownload();
      clock.advance(10);
      return exchange;
    });
    clock.advance(STALL_MS);
    look();
    expect(ends.map(({ exchange, code }) => [exchanges.indexOf(exchange), code])).toEqual([
      [0, "memory_exceeded"],
      [1, "memory_exceeded"],
    ]);
    expect(register.memory.heldBytes).toBe(3 * STALLED_DOWNLOAD_BYTES);
  });

  test("MemoryGuard ends exchanges of the greediest sandbox, although others stall for longer", () => {
    const { openStalledDownload, clock, look, ends } = createStage(9);
    const modest = [openStalledDownload({ sandbox: "modest" }), openStalledDownload({ sandbox: "modest" })];
    clock.advance(1_000);
    for (let i = 0; i < 6; i++) openStalledDownload({ sandbox: "greedy" });
    clock.advance(STALL_MS);
    look();
    expect(ends.map(({ exchange }) => exchange.subject.route.sandboxId)).toEqual(["greedy", "greedy", "greedy"]);
    expect(modest.map(({ state }) => state)).toEqual(["streaming", "streaming"]);
  });

  test("MemoryGuard ends exchanges of a greedy client, over all sandboxes", () => {
    const { openStalledDownload, clock, look, ends } = createStage(6);
    openStalledDownload({ sandbox: "other", client: "203.0.113.2" });
    for (let i = 0; i < 4; i++) openStalledDownload({ sandbox: `s${i}`, client: `2001:db8::${i}` });
    clock.advance(STALL_MS);
    look();
    expect(ends.map(({ exchange }) => exchange.client?.key)).toEqual(Array<string>(2).fill("2001:db8:0:0::/64"));
  });

  test("MemoryGuard ends no exchange because of an address that many share", () => {
    const { openStalledDownload, clock, look, ends } = createStage(6);
    for (let i = 0; i < 4; i++) openStalledDownload({ sandbox: `s${i}` });
    clock.advance(STALL_MS);
    look();
    expect(ends).toEqual([]);
  });

  test("MemoryGuard measures a stall by the body that stalls, not by the other one", () => {
    const { openStalledDownload, clock, look, endedOf } = createStage(3);
    // Its upload ended long ago.
    const fresh = openStalledDownload();
    fresh.upload = new BodyFlow(clock.monotonic());
    fresh.upload.finish();
    clock.advance(10_000);
    const old = openStalledDownload();
    clock.advance(10_000);
    fresh.download?.push(clock.monotonic());
    clock.advance(STALL_MS);
    look();
    expect(endedOf([fresh, old])).toEqual([1]);
  });

  test("MemoryGuard counts a leaving answer from its first check on, and ends it when it has stalled", () => {
    const { openLeaving, clock, look, cutUnread, register } = createStage(1);
    const exchange = openLeaving(STALLED_DOWNLOAD_BYTES);
    expect(register.memory.heldBytes).toBe(0);
    look();
    expect(register.memory.heldBytes).toBe(STALLED_DOWNLOAD_BYTES);
    expect(cutUnread).toEqual([]);
    clock.advance(STALL_MS);
    look();
    expect(cutUnread).toEqual([exchange]);
  });

  test("MemoryGuard does not count a cut exchange again, and spares the others of its sandbox", () => {
    const { openLeaving, openStalledDownload, clock, look, endedOf, register } = createStage(4);
    const leaving = openLeaving(4 * STALLED_DOWNLOAD_BYTES);
    clock.advance(1);
    const stalled = openStalledDownload();
    for (let i = 0; i < 4; i++) {
      clock.advance(STALL_MS);
      look();
    }
    expect(endedOf([leaving, stalled])).toEqual([0]);
    expect(register.memory.heldBytes).toBe(STALLED_DOWNLOAD_BYTES);
  });

  test("MemoryGuard counts for a leaving answer only what Bun holds of it", () => {
    const { openStalledDownload, clock, look, endedOf } = createStage(4);
    const long = openStalledDownload({ sandbox: "long" });
    long.bytesOut = 10 ** 10;
    long.download?.finish();
    long.noteTurn();
    long.leave();
    const other = openStalledDownload({ sandbox: "other" });
    clock.advance(STALL_MS);
    look();
    expect(endedOf([long, other])).toEqual([]);
  });
});

describe("MemoryGuard and resident memory", () => {
  test("MemoryGuard does nothing about it where the limit is 0", () => {
    const { guard, seen, look, open, ends, register } = createStage(4);
    open();
    seen.resident = Number.MAX_SAFE_INTEGER;
    look();
    expect([register.memory.isResidentShort, guard.isTense, ends.length, seen.collected]).toEqual([false, false, 0, 0]);
  });

  test.each([
    [375, { tense: false, short: false, collected: 0, ended: 0 }],
    [376, { tense: true, short: false, collected: 0, ended: 0 }],
    [750, { tense: true, short: false, collected: 0, ended: 0 }],
    [751, { tense: true, short: true, collected: 1, ended: 0 }],
    [850, { tense: true, short: true, collected: 1, ended: 0 }],
    [851, { tense: true, short: true, collected: 1, ended: 1 }],
  ])("MemoryGuard at %d of 1000 bytes", (resident, expected) => {
    const stage = createStage(4, { limitBytes: LIMIT });
    const { guard, seen, look, openStalledDownload, clock, ends, register } = stage;
    openStalledDownload();
    clock.advance(STALL_MS);
    seen.resident = resident;
    look();
    const { collected } = seen;
    expect({ tense: guard.isTense, short: register.memory.isResidentShort, collected, ended: ends.length }).toEqual(
      expected,
    );
  });

  test("MemoryGuard ends an eighth of the stalled exchanges in each check, the longest stalled first", () => {
    const { seen, look, openStalledDownload, clock, endedOf } = createStage(100, { limitBytes: LIMIT });
    const exchanges = Array.from({ length: 17 }, () => {
      const exchange = openStalledDownload();
      clock.advance(1);
      return exchange;
    });
    clock.advance(STALL_MS);
    seen.resident = LIMIT;
    look();
    expect(endedOf(exchanges)).toEqual([0, 1, 2]);
    look();
    expect(endedOf(exchanges)).toEqual([0, 1, 2, 3, 4]);
  });

  test("MemoryGuard ends exchanges that have just begun to wait for a read before those that wait for nothing", () => {
    const { seen, look, openStalledDownload, open, endedOf } = createStage(100, { limitBytes: LIMIT });
    const idle = open();
    const waiting = openStalledDownload();
    seen.resident = LIMIT;
    look();
    expect(endedOf([idle, waiting])).toEqual([1]);
    look();
    expect(endedOf([idle, waiting])).toEqual([0, 1]);
  });

  test("MemoryGuard ends the quietest exchanges of the sandbox with the most if nothing stalls", () => {
    const { seen, look, open, clock, endedOf } = createStage(100, { limitBytes: LIMIT });
    const few = open({ sandbox: "few" });
    const many = [open({ sandbox: "many" }), open({ sandbox: "many" })];
    clock.advance(1_000);
    many[0]?.noteAlive(clock.monotonic());
    seen.resident = LIMIT;
    look();
    expect(endedOf([few, ...many])).toEqual([2]);
  });

  test("MemoryGuard collects garbage at most once in 5 s, and ends nothing if that helped", () => {
    const stage = createExchangeStage();
    let resident = LIMIT;
    let collected = 0;
    const guard = new MemoryGuard(stage.register, {
      limitBytes: LIMIT,
      residentBytes: () => resident,
      collect() {
        collected++;
        resident = 100;
      },
    });
    const exchange = stage.open();
    guard.look(10_000);
    expect([collected, exchange.cutBy, stage.register.memory.isResidentShort]).toEqual([1, undefined, false]);
    resident = 800;
    guard.look(14_999);
    expect(collected).toBe(1);
    guard.look(15_000);
    expect(collected).toBe(2);
  });

  test("MemoryGuard keeps the last number where resident memory cannot be read", () => {
    const { guard, seen, look, register } = createStage(4, { limitBytes: LIMIT });
    look();
    expect([guard.residentBytes, register.memory.isResidentShort]).toEqual([0, false]);
    seen.resident = 800;
    look();
    seen.resident = undefined;
    look();
    expect([guard.residentBytes, register.memory.isResidentShort]).toEqual([800, true]);
  });

  test("MemoryGuard.lookSoon checks at most once in 25 ms, and acts only while memory may become short", () => {
    const { guard, seen, openStalledDownload, clock, ends } = createStage(1, { limitBytes: LIMIT });
    openStalledDownload();
    clock.advance(STALL_MS);
    seen.resident = 100;
    guard.lookSoon(1_000);
    guard.lookSoon(1_024);
    expect([seen.samples, ends.length]).toEqual([1, 0]);
    seen.resident = 400;
    guard.lookSoon(1_025);
    expect(ends.length).toBe(1);
  });
});
