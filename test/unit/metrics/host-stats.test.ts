import { expect, test } from "bun:test";
import { systemClock } from "../../../src/clock.ts";
import { createHostStats, parseEstablished } from "../../../src/metrics/host-stats.ts";

test("parseEstablished reads the value below CurrEstab", () => {
  const text =
    "Ip: Forwarding DefaultTTL\nIp: 1 64\nTcp: RtoAlgorithm ActiveOpens CurrEstab InSegs\nTcp: 1 5 42 9\nUdp: InDatagrams\nUdp: 1\n";
  expect(parseEstablished(text)).toBe(42);
});

test.each(["", "Tcp: A B\n", "Tcp: A B\nTcp: 1 2\n", "Tcp: CurrEstab\nTcp: x\n", "Tcp: A CurrEstab\nTcp: 1\n"])(
  "parseEstablished finds nothing in %j",
  (text) => expect(parseEstablished(text)).toBeUndefined(),
);

test("createHostStats reckons processor use no more often than once a second", () => {
  let now = 0;
  const host = createHostStats({ ...systemClock, monotonic: () => now });
  expect(host.cpuUsage()).toBe(0);
  now = 1_500;
  const usage = host.cpuUsage();
  expect(usage).toBeWithin(0, 1.000_001);
  expect(host.cpuUsage()).toBe(usage);
  expect(host.memoryBytes()).toBeGreaterThan(0);
});
