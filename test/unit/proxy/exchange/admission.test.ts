import { describe, expect, test } from "bun:test";

import { IngressError, type IngressErrorCode } from "../../../../src/errors.ts";
import { Admission, type AdmissionLimits } from "../../../../src/proxy/exchange/admission.ts";
import { Departures } from "../../../../src/proxy/exchange/departures.ts";
import type { Exchange } from "../../../../src/proxy/exchange/exchange.ts";
import { createUpstreamPool } from "../../../../src/proxy/upstream/upstream.ts";
import { sandboxRecord } from "../../../../scripts/lib/stage/sandbox-objects.ts";
import { blindProofs, createExchangeStage } from "../../../support/exchange-stage.ts";

function createStage(limits: Partial<AdmissionLimits>) {
  const stage = createExchangeStage();
  const gone = new Set<Request>();
  const departures = new Departures({
    pendingRequests: () => 1,
    hasLeft: (request) => gone.has(request),
    expire: () => {},
    monotonic: () => 0,
    afterTurn: (callback) => callback(),
  });
  const memory = { isShort: false };
  const admission = new Admission(
    { maxRequests: 0, maxRequestsPerSandbox: 0, ...limits },
    { register: stage.register, departures, isMemoryShort: () => memory.isShort },
  );
  const check = (exchange: Exchange, ownMax?: number): IngressErrorCode | undefined => {
    try {
      admission.check({ sandbox: exchange.upstream.share, client: exchange.client, ownMax, nowMs: 0 });
      return undefined;
    } catch (thrown) {
      return thrown instanceof IngressError ? thrown.code : "internal";
    }
  };
  /** The share of a client or sandbox with nothing open. */
  const newcomer = createUpstreamPool(blindProofs(stage.clock)).acquire(
    sandboxRecord({ name: "new", uid: "new" }),
    0,
  ).share;
  const checkNew = (client?: string, peer = client ?? ""): IngressErrorCode | undefined => {
    try {
      const share = client === undefined ? undefined : stage.register.shareOfClient({ client, peer });
      admission.check({ sandbox: newcomer, client: share, ownMax: undefined, nowMs: 0 });
      return undefined;
    } catch (thrown) {
      return thrown instanceof IngressError ? thrown.code : "internal";
    }
  };
  return { ...stage, gone, departures, memory, check, checkNew };
}

/** Opens `count` exchanges, each for its own sandbox and client by default. */
function openMany(
  stage: ReturnType<typeof createStage>,
  count: number,
  options: { sandbox?: string; client?: string },
) {
  return Array.from({ length: count }, (_, at) => stage.open({ sandbox: `own-${at}`, ...options }));
}

describe("Admission.check", () => {
  test.each([
    [0, 2, "too_many_requests_sandbox"],
    [0, 3, undefined],
    [5, 2, "too_many_requests_sandbox"],
    [2, 5, "too_many_requests_sandbox"],
    [5, 3, undefined],
  ] as const)("with 2 of a sandbox open, flag %d and annotation %d says %p", (flag, own, expected) => {
    const stage = createStage({ maxRequestsPerSandbox: flag });
    const [exchange] = openMany(stage, 2, { sandbox: "sb" });
    expect(exchange && stage.check(exchange, own)).toBe(expected);
  });

  test.each([
    [4, undefined],
    [5, "too_many_requests_sandbox"],
  ] as const)("with %d of 5 of a sandbox open says %p", (count, expected) => {
    const stage = createStage({ maxRequestsPerSandbox: 5 });
    const [exchange] = openMany(stage, count, { sandbox: "sb" });
    expect(exchange && stage.check(exchange)).toBe(expected);
    expect(stage.checkNew()).toBeUndefined();
  });

  test.each([
    [9, undefined],
    [10, "too_many_requests"],
    [11, "too_many_requests"],
  ] as const)("with %d of 10 open says %p to a newcomer", (count, expected) => {
    const stage = createStage({ maxRequests: 10 });
    openMany(stage, count, {});
    expect(stage.checkNew("203.0.113.1")).toBe(expected);
  });

  test.each([
    [5, undefined],
    [6, "too_many_requests_sandbox"],
  ] as const)("with %d of 10 open, all of one sandbox, says %p", (count, expected) => {
    const stage = createStage({ maxRequests: 10 });
    const [exchange] = openMany(stage, count, { sandbox: "greedy" });
    expect(exchange && stage.check(exchange)).toBe(expected);
    expect(stage.checkNew()).toBeUndefined();
  });

  test.each([
    [5, "203.0.113.1", undefined],
    [6, "203.0.113.1", "too_many_requests_client"],
    [6, "203.0.113.2", undefined],
    [6, undefined, undefined],
  ] as const)("with %d of 10 open, all of one client, says %p says %p", (count, client, expected) => {
    const stage = createStage({ maxRequests: 10 });
    openMany(stage, count, { client: "203.0.113.1" });
    expect(stage.checkNew(client)).toBe(expected);
  });

  test("counts all addresses of an IPv6 /64 as one client", () => {
    const stage = createStage({ maxRequests: 10 });
    for (let at = 1; at <= 6; at++) stage.open({ sandbox: `s${at}`, client: `2001:db8::${at}` });
    expect(stage.checkNew("2001:db8::ffff")).toBe("too_many_requests_client");
    expect(stage.checkNew("2001:db8:0:1::1")).toBeUndefined();
  });

  test("counts a client that a peer names for that peer alone", () => {
    const stage = createStage({ maxRequests: 10 });
    for (let at = 1; at <= 6; at++) stage.open({ sandbox: `s${at}`, client: "203.0.113.1", peer: "10.0.0.66" });
    expect(stage.checkNew("203.0.113.1", "10.0.0.66")).toBe("too_many_requests_client");
    expect(stage.checkNew("203.0.113.1", "10.0.0.2")).toBeUndefined();
    expect(stage.checkNew("203.0.113.1")).toBeUndefined();
    expect(stage.checkNew("10.0.0.66")).toBeUndefined();
    expect(stage.register.counters().clients).toBe(1);
  });

  test("has no limit where the flags are 0", () => {
    const stage = createStage({});
    const [exchange] = openMany(stage, 20_000, { sandbox: "sb", client: "203.0.113.1" });
    expect(exchange && stage.check(exchange)).toBeUndefined();
  });

  test("throws memory_short for all flags, but reports a limit first", () => {
    const stage = createStage({ maxRequests: 2 });
    stage.memory.isShort = true;
    expect(stage.checkNew()).toBe("memory_short");
    openMany(stage, 2, {});
    expect(stage.checkNew()).toBe("too_many_requests");
    const unlimited = createStage({});
    unlimited.memory.isShort = true;
    expect(unlimited.checkNew()).toBe("memory_short");
  });

  test("checks which exchanges have left before it refuses", () => {
    const stage = createStage({ maxRequests: 1 });
    const exchange = stage.openLeaving(10);
    stage.departures.add(exchange);
    expect(stage.checkNew()).toBe("too_many_requests");
    stage.gone.add(exchange.subject.request);
    expect(stage.checkNew()).toBeUndefined();
    expect(exchange.state).toBe("ended");
  });
});
