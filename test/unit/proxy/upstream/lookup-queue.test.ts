import { describe, expect, test } from "bun:test";
import type { NameAnswer } from "../../../../src/proxy/upstream/dns-lookup.ts";
import { LOOKUP_MAX_MS, LOOKUPS_MAX, LookupQueue } from "../../../../src/proxy/upstream/lookup-queue.ts";
import { createFakeClock } from "../../../../scripts/lib/stage/fake-clock.ts";

const ANSWER: NameAnswer = { addresses: ["10.0.0.7"], unanswered: undefined };

function createQueue() {
  const clock = createFakeClock();
  const started: string[] = [];
  const pending = new Map<string, PromiseWithResolvers<NameAnswer>>();
  const queue = new LookupQueue({
    clock,
    lookup: (name) => {
      started.push(name);
      const answer = Promise.withResolvers<NameAnswer>();
      pending.set(name, answer);
      return answer.promise;
    },
  });
  return { clock, queue, started, pending };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const ofNamespace = (names: readonly string[], namespace: string) =>
  names.filter((name) => name.includes(`.${namespace}.`)).length;

describe("LookupQueue.look", () => {
  test("LookupQueue.look leaves room: two greedy namespaces cannot take every slot from a third", async () => {
    const { queue, started, pending } = createQueue();
    const looks = ["greedy", "greedy2", "modest"].flatMap((namespace) =>
      Array.from({ length: 100 }, (_, index) => queue.look(`sb-${index}.${namespace}.svc`)),
    );
    expect(ofNamespace(started, "greedy")).toBe(LOOKUPS_MAX / 2);
    expect(ofNamespace(started, "greedy2")).toBe(LOOKUPS_MAX / 4);
    expect(ofNamespace(started, "modest")).toBe(LOOKUPS_MAX / 8);
    for (let left = looks.length; left > 0; left -= 1) {
      expect(queue.running).toBeLessThanOrEqual(LOOKUPS_MAX);
      const [next] = pending;
      if (next === undefined) throw new Error("a look-up is not started");
      pending.delete(next[0]);
      next[1].resolve(ANSWER);
      await turn();
    }
    expect(await Promise.all(looks)).toEqual(Array.from({ length: 300 }, () => ANSWER));
    expect(queue.running).toBe(0);
  });

  test("LookupQueue.look gives up after its time, but keeps the slot and never looks a name up twice at once", async () => {
    const { clock, queue, started, pending } = createQueue();
    const first = queue.look("sb.ns.svc").catch(String);
    clock.advance(LOOKUP_MAX_MS);
    expect(await first).toContain(`no answer for ${LOOKUP_MAX_MS} ms`);
    expect(queue.running).toBe(1);
    const second = queue.look("sb.ns.svc");
    expect(started).toEqual(["sb.ns.svc"]);
    pending.get("sb.ns.svc")?.reject(new Error("late"));
    await turn();
    expect(started).toEqual(["sb.ns.svc", "sb.ns.svc"]);
    pending.get("sb.ns.svc")?.resolve(ANSWER);
    expect(await second).toEqual(ANSWER);
  });

  test("LookupQueue.look rejects with the error of the look-up, at once or later, and frees the slot", async () => {
    const queue = new LookupQueue({
      clock: createFakeClock(),
      lookup: () => {
        throw new Error("broken");
      },
    });
    expect(await queue.look("sb.ns.svc").catch(String)).toBe("Error: broken");
    expect(queue.running).toBe(0);
  });

  test("LookupQueue.look gives namespaces turns, in any order and with any number of names", async () => {
    const { queue, started, pending } = createQueue();
    const looks = Array.from({ length: 1_000 }, (_, index) => queue.look(`sb-${index}.greedy.svc`));
    for (let index = 0; index < 200; index++) looks.push(queue.look(`sb.other-${index}.svc`));
    const others = () => started.filter((name) => name.includes(".other-")).length;
    for (let ended = 0; others() < 200; ended++) {
      const [next] = pending;
      if (next === undefined) throw new Error("a look-up is not started");
      pending.delete(next[0]);
      next[1].resolve(ANSWER);
      await turn();
      // The greedy namespace gets at most half of the turns.
      expect(ended).toBeLessThan(2 * (200 + LOOKUPS_MAX));
    }
    expect(ofNamespace(started, "greedy")).toBeLessThan(400);
    for (const look of looks) look.catch(() => {});
  });

  // Walking through everything that waits at each step would take 200 million steps, more than the time of a test.
  test("LookupQueue.look does not walk through what waits: 20,000 names of one tenant are looked up one by one", async () => {
    let asked = 0;
    const queue = new LookupQueue({
      clock: createFakeClock(),
      lookup: () => Promise.resolve({ ...ANSWER, addresses: [String(asked++)] }),
    });
    await Promise.all(Array.from({ length: 20_000 }, (_, index) => queue.look(`sb-${index}.greedy.svc`)));
    expect(asked).toBe(20_000);
  });
});
