import { describe, expect, test } from "bun:test";

import { listProblems } from "../../../../src/admin/dashboard/problems.ts";
import type { Status } from "../../../../src/admin/status.ts";

const HEALTHY: Status = {
  version: "1.2.3",
  commit: "abc",
  instance: "i",
  mode: "header",
  provider: "batchsandbox",
  time: "2026-01-01T00:00:00.000Z",
  startedAt: "2026-01-01T00:00:00.000Z",
  phase: "ready",
  checks: [{ name: "serving", ok: true, detail: "" }],
  traffic: {
    windowMs: 10_000,
    requestsPerSecond: 1,
    failedPerSecond: 0,
    p50Ms: 1,
    p99Ms: 2,
    requests: 10,
    open: 0,
    tunnels: 0,
    held: 0,
    statuses: [],
    refusals: [],
    history: [],
  },
  eventLoop: { p50Ms: 1, p99Ms: 2 },
  memory: { heldBytes: 1, budgetBytes: 100, limitBytes: 1_000, residentBytes: 10 },
  descriptors: { open: 1, limit: 100, shortages: 0, exhaustions: 0, idleClosed: 0 },
  sandboxes: { ready: 1, notReady: 0, ambiguous: 0, namesakes: 0, waking: 0, synced: true, ageMs: 0 },
  access: { failures: 0, exhaustedSandboxes: 0 },
  redis: { published: 1, dropped: 0, throttled: 0, failed: 0, queued: 0, healthy: true },
};

describe("listProblems", () => {
  test("listProblems: a healthy ingress has none, nor has one that was just asked for the first time", () => {
    expect(listProblems(HEALTHY)).toEqual([]);
    const bare = { ...HEALTHY, descriptors: undefined, access: undefined, redis: undefined };
    expect(listProblems({ ...bare, eventLoop: { p50Ms: undefined, p99Ms: undefined } })).toEqual([]);
  });

  test.each<readonly [string, Partial<Status>]>([
    ["draining", { phase: "draining", checks: [{ name: "serving", ok: false, detail: "shutting down" }] }],
    ["sandboxes-synced, no permission", { checks: [{ name: "sandboxes-synced", ok: false, detail: "no permission" }] }],
    ["table of sandboxes is older", { sandboxes: { ...HEALTHY.sandboxes, ageMs: 3_600_000 } }],
    [
      "watch of the sandboxes is broken, so changes are not seen: no route to the API server.",
      { sandboxes: { ...HEALTHY.sandboxes, fault: "no route to the API server" } },
    ],
    [
      "watch of the sandboxes is broken",
      { sandboxes: { ...HEALTHY.sandboxes, fault: "Unable to connect.", ageMs: 3_600_000 } },
    ],
    [
      "sandboxes-synced, Unable to connect",
      {
        checks: [{ name: "sandboxes-synced", ok: false, detail: "Unable to connect." }],
        sandboxes: { ...HEALTHY.sandboxes, synced: false, fault: "Unable to connect" },
      },
    ],
    ["memory account", { memory: { ...HEALTHY.memory, heldBytes: 99 } }],
    ["File descriptors", { descriptors: { open: 99, limit: 100, shortages: 0, exhaustions: 0, idleClosed: 0 } }],
    ["event loop", { eventLoop: { p50Ms: 1, p99Ms: 400 } }],
    ["Redis", { redis: { published: 0, dropped: 0, throttled: 0, failed: 3, queued: 2, healthy: false } }],
    ["guessing signatures", { access: { failures: 2_000, exhaustedSandboxes: 1 } }],
  ])("listProblems: tells of %s in one sentence", (words, change) => {
    const problems = listProblems({ ...HEALTHY, ...change });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(words);
    expect(problems[0]).toMatch(/[^.]\.$|\?$/);
  });
});
