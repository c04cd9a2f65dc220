import { describe, expect, test } from "bun:test";

import { IngressError } from "../../../../src/errors.ts";
import { STALLED_DOWNLOAD_BYTES, STALLED_UPLOAD_BYTES } from "../../../../src/proxy/exchange/stalled-sizes.ts";
import { createExchangeStage, type ExchangeOptions } from "../../../support/exchange-stage.ts";

const NOTHING = { exchanges: 0, clients: 0, heldBytes: 0 };

describe("MemoryAccount.tryHold", () => {
  test("tryHold gives one sandbox at most half of the budget", () => {
    const { open, register } = createExchangeStage({ budgetBytes: 1_000 });
    const exchange = open();
    expect(exchange.tryHold(501)).toBe(false);
    expect(register.memory.heldBytes).toBe(0);
    expect(exchange.tryHold(500)).toBe(true);
    expect(exchange.tryHold(501)).toBe(false);
    expect(open().tryHold(1)).toBe(false);
    expect(register.memory).toMatchObject({ heldBytes: 500, freeBytes: 500 });
  });

  test("tryHold gives another sandbox half of the rest", () => {
    const { open, register } = createExchangeStage({ budgetBytes: 1_000 });
    open({ sandbox: "greedy" }).tryHold(500);
    expect(open({ sandbox: "other" }).tryHold(251)).toBe(false);
    expect(open({ sandbox: "other" }).tryHold(250)).toBe(true);
    expect(register.memory.freeBytes).toBe(250);
  });

  test("tryHold refuses more at the end of the budget, but always takes memory back", () => {
    const { open, register } = createExchangeStage({ budgetBytes: 1_000 });
    const holder = open({ sandbox: "holder" });
    holder.tryHold(400);
    register.memory.setStalled(open({ sandbox: "stalled" }), 700);
    expect(register.memory).toMatchObject({ heldBytes: 1_100, freeBytes: 0 });
    expect(open({ sandbox: "new" }).tryHold(1)).toBe(false);
    expect(open({ sandbox: "new" }).tryHold(0)).toBe(true);
    expect(holder.tryHold(401)).toBe(false);
    expect(holder.tryHold(399)).toBe(true);
    expect(register.memory.heldBytes).toBe(1_099);
  });

  test("tryHold counts one client over all sandboxes", () => {
    const { open } = createExchangeStage({ budgetBytes: 1_000 });
    const of = (sandbox: string, client: string) => open({ sandbox, client });
    expect(of("a", "203.0.113.1").tryHold(300)).toBe(true);
    expect(of("b", "203.0.113.1").tryHold(201)).toBe(false);
    expect(of("b", "203.0.113.2").tryHold(201)).toBe(true);
  });

  test("tryHold does not count a client whose address many share", () => {
    const { open, register } = createExchangeStage({ budgetBytes: 1_000 });
    expect(open({ sandbox: "a" }).tryHold(300)).toBe(true);
    expect(open({ sandbox: "b" }).tryHold(201)).toBe(true);
    expect(register.counters().clients).toBe(0);
  });
});

describe("the share of a client", () => {
  test.each([
    ["one IPv6 /64", "2001:db8:1:2::1", "2001:db8:1:2:ffff::9", 1],
    ["neighbouring IPv6 /64s", "2001:db8:1:2::1", "2001:db8:1:3::1", 2],
    ["two IPv4 addresses", "203.0.113.1", "203.0.113.2", 2],
    ["an IPv4 address and its mapped form", "203.0.113.1", "::ffff:203.0.113.1", 1],
  ])("of %s", (_name, first, second, clients) => {
    const { open, register } = createExchangeStage();
    const exchanges = [open({ client: first }), open({ client: second })];
    expect(register.counters().clients).toBe(clients);
    expect(exchanges[1]?.client?.requests).toBe(3 - clients);
    for (const exchange of exchanges) exchange.end();
    expect(register.counters()).toEqual(NOTHING);
  });
});

describe("MemoryAccount.isShortFor", () => {
  const isShortFor = (held: { others: number; sandbox?: number; client?: number }): boolean => {
    const { open, register } = createExchangeStage({ budgetBytes: 1_000 });
    const asking = open({ sandbox: "asking", client: "203.0.113.1" });
    register.memory.setStalled(open({ sandbox: "other" }), held.others);
    register.memory.setStalled(open({ sandbox: "asking" }), held.sandbox ?? 0);
    register.memory.setStalled(open({ sandbox: "third", client: "203.0.113.1" }), held.client ?? 0);
    return register.memory.isShortFor(asking.upstream.share, asking.client);
  };

  test.each([
    ["up to seven eighths are held, whoever holds them", { others: 0, sandbox: 875 }, false],
    ["more is held, but by others alone", { others: 1_000 }, false],
    ["more is held, and half of what is free by the sandbox", { others: 850, sandbox: 50 }, false],
    ["more is held, and more than half of what is free by the sandbox", { others: 849, sandbox: 51 }, true],
    ["more is held, and half of what is free by the client", { others: 850, client: 50 }, false],
    ["more is held, and more than half of what is free by the client", { others: 849, client: 51 }, true],
    ["all is held, and a byte of it by the sandbox", { others: 999, sandbox: 1 }, true],
  ])("of a budget of 1000, where %s", (_name, held, isShort) => {
    expect(isShortFor(held)).toBe(isShort);
  });

  test.each([2, 10, 50])("some room is left for a newcomer where %d sandboxes take all that they get", (count) => {
    const { open, register } = createExchangeStage({ budgetBytes: 100_000 });
    const greedy = Array.from({ length: count }, (_, at) => open({ sandbox: `greedy-${at}` }));
    for (let round = 0; round < 100_000; round++) {
      const able = greedy.filter(
        (exchange) =>
          !register.memory.isShortFor(exchange.upstream.share, undefined) && register.hasRoomFor(exchange, 10),
      );
      if (able.length === 0) break;
      for (const exchange of able) register.memory.setStalled(exchange, exchange.stalledBytes + 10);
    }
    const newcomer = open({ sandbox: "newcomer" });
    expect(register.memory.isShortFor(newcomer.upstream.share, undefined)).toBe(false);
    expect(register.hasRoomFor(newcomer, 100_000 / (2 * count + 6))).toBe(true);
  });

  test("isShortFor is also what the guard says of the process", () => {
    const { open, register } = createExchangeStage();
    register.memory.isResidentShort = true;
    expect(register.memory.isShortFor(open().upstream.share, undefined)).toBe(true);
  });
});

describe("MemoryAccount.hasRoomFor", () => {
  test("hasRoomFor is false beyond a fair share of sandbox or client, and while memory is short", () => {
    const { open, register } = createExchangeStage({ budgetBytes: 1_000 });
    const { memory } = register;
    expect(memory.hasRoomFor(open(), 500)).toBe(true);
    expect(memory.hasRoomFor(open(), 501)).toBe(false);
    open({ sandbox: "a", client: "203.0.113.1" }).tryHold(300);
    expect(memory.hasRoomFor(open({ sandbox: "b", client: "203.0.113.1" }), 201)).toBe(false);
    expect(memory.hasRoomFor(open({ sandbox: "b", client: "203.0.113.2" }), 201)).toBe(true);
    memory.isResidentShort = true;
    expect(memory.hasRoomFor(open({ sandbox: "b" }), 1)).toBe(false);
  });

  test("Exchange.checkRoom refuses a stream as memory_short", () => {
    const { open } = createExchangeStage({ budgetBytes: 2 * STALLED_DOWNLOAD_BYTES });
    const exchange = open();
    exchange.checkRoom();
    exchange.tryHold(1);
    expect(() => exchange.checkRoom()).toThrow(new IngressError("memory_short"));
  });
});

describe("what stalls", () => {
  test("Exchange.noteTurn counts what a receiver must read, and nothing once it has read", () => {
    const { openStalledDownload, openStalledUpload, register, clock } = createExchangeStage();
    const download = openStalledDownload();
    const upload = openStalledUpload();
    expect(register.memory.heldBytes).toBe(STALLED_DOWNLOAD_BYTES + STALLED_UPLOAD_BYTES);
    download.download?.pull(clock.monotonic());
    download.noteTurn();
    expect(register.memory.heldBytes).toBe(STALLED_UPLOAD_BYTES);
    upload.upload?.finish();
    upload.noteTurn();
    expect(register.memory.heldBytes).toBe(0);
  });

  test("Exchange.noteTurn counts for a leaving answer what Bun holds of it", () => {
    const { openLeaving, openStalledDownload, register } = createExchangeStage();
    openLeaving(30_000_000).noteTurn();
    expect(register.memory.heldBytes).toBe(30_000_000);
    const stream = openStalledDownload({ sandbox: "stream" });
    stream.bytesOut = 10_000_000_000;
    stream.download?.finish();
    stream.leave();
    stream.noteTurn();
    expect(stream.stalledBytes).toBe(STALLED_DOWNLOAD_BYTES);
  });

  test("Exchange.tryHold and what stalls do not disturb each other", () => {
    const { openStalledUpload, register } = createExchangeStage();
    const exchange = openStalledUpload({ client: "203.0.113.1" });
    exchange.tryHold(100);
    expect(register.memory.heldBytes).toBe(STALLED_UPLOAD_BYTES + 100);
    exchange.upload?.finish();
    exchange.noteTurn();
    expect(exchange.client?.heldBytes).toBe(100);
    exchange.tryHold(0);
    expect(register.memory.heldBytes).toBe(0);
  });

  test("Exchange.end gives everything back exactly once", () => {
    const { openStalledUpload, register } = createExchangeStage();
    const other = openStalledUpload({ client: "203.0.113.1" });
    const exchange = openStalledUpload({ client: "203.0.113.1" });
    exchange.tryHold(100);
    exchange.end();
    exchange.end(new IngressError("internal"));
    exchange.cut(new IngressError("internal"));
    expect(exchange.tryHold(100)).toBe(false);
    expect(exchange.tryHold(0)).toBe(true);
    exchange.noteTurn();
    const { share } = exchange.upstream;
    expect([share.heldBytes, share.requests]).toEqual([STALLED_UPLOAD_BYTES, 1]);
    expect(exchange.client).toMatchObject({ heldBytes: STALLED_UPLOAD_BYTES, requests: 1 });
    other.end();
    expect(share).toMatchObject({ heldBytes: 0, requests: 0 });
    expect(register.counters()).toEqual(NOTHING);
  });
});

describe("answers that were cut and that Bun still has", () => {
  test("MemoryAccount leaves less room for them, and no more must end for them", () => {
    const { openStalledDownload, open, register } = createExchangeStage({ budgetBytes: 8 * STALLED_DOWNLOAD_BYTES });
    const client = "203.0.113.9";
    const stuck = Array.from({ length: 4 }, () => openStalledDownload({ sandbox: "greedy", client }));
    for (const exchange of stuck) exchange.cut(new IngressError("upstream_timeout"));
    expect(register.memory).toMatchObject({ heldBytes: 0, freeBytes: register.memory.budgetBytes });
    expect(register.size).toBe(4);
    const mayBegin = (about: ExchangeOptions): boolean =>
      register.hasRoomFor(open(about), STALLED_DOWNLOAD_BYTES) && open(about).tryHold(STALLED_DOWNLOAD_BYTES);
    expect(mayBegin({ sandbox: "greedy" })).toBe(false);
    expect(mayBegin({ sandbox: "another", client })).toBe(false);
    expect(mayBegin({ sandbox: "modest" })).toBe(true);
    for (const exchange of stuck) exchange.end(exchange.cutBy);
    expect(mayBegin({ sandbox: "greedy", client })).toBe(true);
  });
});
