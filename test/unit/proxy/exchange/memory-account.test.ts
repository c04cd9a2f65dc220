import { describe, expect, test } from "bun:test";

import { IngressError } from "../../../../src/errors.ts";
import { STALLED_DOWNLOAD_BYTES, STALLED_UPLOAD_BYTES } from "../../../../src/proxy/exchange/stalled-sizes.ts";
import { createExchangeStage } from "../../../support/exchange-stage.ts";

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

describe("MemoryAccount.isShort", () => {
  test.each([
    [874, false],
    [875, false],
    [876, true],
  ])("isShort of a budget of 1000 with %d held is %p", (bytes, isShort) => {
    const { open, register } = createExchangeStage({ budgetBytes: 1_000 });
    register.memory.setStalled(open(), bytes);
    expect(register.memory.isShort).toBe(isShort);
  });

  test("isShort is also what the guard says of the process", () => {
    const { memory } = createExchangeStage().register;
    memory.isResidentShort = true;
    expect(memory.isShort).toBe(true);
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
