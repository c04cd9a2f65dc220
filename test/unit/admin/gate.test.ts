import { describe, expect, test } from "bun:test";
import { createAdminGate, GUESS_BURST } from "../../../src/admin/gate.ts";
import { silentLogger } from "../../../src/log/logger.ts";
import { createFakeClock } from "../../../scripts/lib/stage/fake-clock.ts";

const token = {
  isConfigured: true,
  matches: (presented: string) => presented === "right",
  start: () => Promise.resolve(),
  stop() {},
};

function stage() {
  const clock = createFakeClock();
  const gate = createAdminGate({ token, clock, logger: silentLogger });
  const ask = (peer: string, shown: string) => {
    const verdict = gate.judge(new Request("http://admin/", { headers: { Authorization: `Bearer ${shown}` } }), peer);
    return verdict.kind === "admitted" ? 200 : verdict.status;
  };
  return { clock, ask };
}

describe("AdminGate", () => {
  test("AdminGate counts an IPv6 /64 as one client, and limits a /48 as a whole", () => {
    const { clock, ask } = stage();
    for (let guess = 0; guess < GUESS_BURST; guess++) expect(ask(`2001:db8:1:1::${guess.toString(16)}`, "x")).toBe(401);
    expect(ask("2001:db8:1:1::ffff", "right")).toBe(429);
    expect(ask("2001:db8:1:2::1", "right")).toBe(200);
    for (let guess = GUESS_BURST; guess < 10 * GUESS_BURST; guess++) {
      expect(ask(`2001:db8:1:${(guess + 16).toString(16)}::1`, "x")).toBe(401);
    }
    expect(ask("2001:db8:1:ffff::1", "right")).toBe(429);
    expect(ask("2001:db8:2::1", "right")).toBe(200);
    clock.advance(10_000);
    expect(ask("2001:db8:1:ffff::1", "right")).toBe(200);
  });

  test("AdminGate counts an IPv4-mapped address as the IPv4 address", () => {
    const { ask } = stage();
    for (let guess = 0; guess < GUESS_BURST; guess++) ask("::ffff:10.0.0.1", "x");
    expect([ask("10.0.0.1", "right"), ask("10.0.0.2", "right")]).toEqual([429, 200]);
  });

  test("AdminGate remembers no more than a bound of clients, and keeps the busiest", () => {
    const { ask } = stage();
    for (let guess = 0; guess < GUESS_BURST; guess++) ask("10.0.0.1", "x");
    for (let at = 0; at < 10_000; at++) ask(`10.1.${at >> 8}.${at & 255}`, "x");
    expect(ask("10.0.0.1", "right")).toBe(429);
  });
});
