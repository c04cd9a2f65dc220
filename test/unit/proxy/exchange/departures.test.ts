import { describe, expect, test } from "bun:test";

import { IngressError } from "../../../../src/errors.ts";
import { Departures } from "../../../../src/proxy/exchange/departures.ts";
import type { Exchange } from "../../../../src/proxy/exchange/exchange.ts";
import { createExchangeStage } from "../../../support/exchange-stage.ts";

/** Departures whose turn ends when the test says so. */
function createStage() {
  const stage = createExchangeStage();
  const turns: (() => void)[] = [];
  const bun = {
    pending: (): number => 1,
    hasLeft: (_request: Request): boolean => false,
    expired: [] as Request[],
  };
  const departures = new Departures({
    pendingRequests: () => bun.pending(),
    hasLeft: (request) => bun.hasLeft(request),
    expire: (request) => void bun.expired.push(request),
    monotonic: () => stage.clock.monotonic(),
    afterTurn: (callback) => void turns.push(callback),
  });
  const add = (): Exchange => {
    const exchange = stage.openLeaving(10);
    departures.add(exchange);
    return exchange;
  };
  const endTurn = (): void => {
    for (const turn of turns.splice(0)) turn();
  };
  return { ...stage, bun, departures, turns, add, endTurn };
}

describe("Departures", () => {
  test("Departures ends the connection of an answer that was cut, if its client reads nothing for a second", () => {
    const { add, endTurn, bun, departures, clock, ends } = createStage();
    const [cut, slow] = [add(), add()];
    endTurn();
    cut.cut(new IngressError("upstream_timeout"));
    clock.advance(999);
    departures.sweep();
    expect(bun.expired).toEqual([]);
    clock.advance(1);
    for (let sweeps = 0; sweeps < 3; sweeps++) departures.sweep();
    expect(bun.expired).toEqual([cut.subject.request]);
    expect(ends).toEqual([]);
    bun.hasLeft = () => true;
    departures.sweep();
    expect(ends.map(({ exchange, code }) => [exchange, code])).toEqual([
      [cut, "upstream_timeout"],
      [slow, undefined],
    ]);
  });

  test("Departures ends an exchange as internal if its connection cannot be told to end", () => {
    const { add, endTurn, bun, departures, clock, ends } = createStage();
    add().cut(new IngressError("upstream_timeout"));
    endTurn();
    bun.expired.push = () => {
      throw new Error("no");
    };
    clock.advance(1_000);
    departures.sweep();
    expect(ends.map(({ code }) => code)).toEqual(["internal"]);
  });

  test("Departures checks once per turn, and ends all if Bun has no answer left", () => {
    const { add, turns, endTurn, bun, ends } = createStage();
    add();
    add();
    expect(turns).toHaveLength(1);
    bun.pending = () => 0;
    endTurn();
    expect(ends.map(({ code }) => code)).toEqual([undefined, undefined]);
    add();
    expect(turns).toHaveLength(1);
  });

  test("Departures keeps exchanges that have not left", () => {
    const { add, endTurn, bun, departures, clock, ends } = createStage();
    const exchanges = [add(), add()];
    bun.hasLeft = (request) => request === exchanges[0]?.subject.request;
    clock.advance(400);
    endTurn();
    expect(ends.map(({ exchange }) => exchange)).toEqual(exchanges.slice(0, 1));
    expect(departures.slow).toEqual(exchanges.slice(1));
    expect(exchanges[1]?.activeAt).toBe(400);
    departures.sweep();
    expect(departures.slow).toHaveLength(1);
    bun.hasLeft = () => true;
    departures.sweep();
    departures.sweep();
    expect(departures.slow).toEqual([]);
    expect(ends).toHaveLength(2);
  });

  test("Departures ends cut exchanges with their reason, and forgets those that ended elsewhere", () => {
    const { add, endTurn, bun, departures, ends } = createStage();
    const [cut, ended] = [add(), add()];
    endTurn();
    cut?.cut(new IngressError("memory_exceeded"));
    ended?.end(new IngressError("client_closed"));
    bun.hasLeft = (request) => request === cut?.subject.request;
    departures.sweep();
    expect(ends.map(({ code }) => code)).toEqual(["client_closed", "memory_exceeded"]);
    expect(departures.slow).toEqual([]);
  });

  test.each(["in the turn", "later"] as const)(
    "Departures ends an exchange as internal if Bun throws, %s, and goes on with the others",
    (when) => {
      const { add, endTurn, bun, departures, ends, register } = createStage();
      const exchanges = [add(), add(), add()];
      if (when === "later") endTurn();
      bun.pending = () => {
        throw new Error("thrown on purpose");
      };
      bun.hasLeft = (request) => {
        if (request === exchanges[1]?.subject.request) throw new Error("thrown on purpose");
        return true;
      };
      if (when === "later") departures.sweep();
      else endTurn();
      expect(ends.map(({ code }) => code)).toEqual([undefined, "internal", undefined]);
      expect(register.size).toBe(0);
    },
  );
});
