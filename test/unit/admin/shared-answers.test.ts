import { describe, expect, test } from "bun:test";

import { SharedAnswers } from "../../../src/admin/shared-answers.ts";
import { createFakeClock } from "../../../scripts/lib/stage/fake-clock.ts";

function createStage() {
  const clock = createFakeClock();
  const shared = new SharedAnswers(clock);
  let made = 0;
  const ask = (path: string, cacheControl?: string): Promise<string> => {
    const url = new URL(path, "http://localhost");
    const headers = cacheControl === undefined ? {} : { "Cache-Control": cacheControl };
    const make = () => Promise.resolve(new Response(`${(made += 1)}`));
    return shared.answer({ request: new Request(url.href, { headers }), url, peer: "" }, make).then((it) => it.text());
  };
  return { clock, ask, shared };
}

describe("SharedAnswers", () => {
  test("SharedAnswers: who takes an older answer gets the one of this second, and only of the same question", async () => {
    const { clock, ask } = createStage();
    const many = await Promise.all(Array.from({ length: 50 }, () => ask("/debug/status", "max-age=1")));
    expect(new Set(many)).toEqual(new Set(["1"]));
    expect(await ask("/debug/sandboxes?q=a", "max-age=1")).toBe("2");
    expect(await ask("/debug/sandboxes?q=b", "no-transform, max-age=60")).toBe("3");
    clock.advance(999);
    expect(await ask("/debug/status", "max-age=1")).toBe("1");
    clock.advance(1);
    expect(await ask("/debug/status", "max-age=1")).toBe("4");
  });

  test.each([undefined, "no-cache", "max-age=0", "max-age=x", "s-max-age=5"])(
    "SharedAnswers: with Cache-Control %p an answer is made anew",
    async (cacheControl) => {
      const { ask } = createStage();
      await ask("/debug/status", "max-age=1");
      expect([await ask("/debug/status", cacheControl), await ask("/debug/status", cacheControl)]).toEqual(["2", "3"]);
    },
  );

  test("SharedAnswers: keeps few answers at a time, and none to a long question", async () => {
    const { clock, ask } = createStage();
    for (let at = 0; at < 40; at++) await ask(`/debug/sandboxes?q=${at}`, "max-age=1");
    expect([await ask("/debug/sandboxes?q=0", "max-age=1"), await ask("/debug/sandboxes?q=39", "max-age=1")]).toEqual([
      "1",
      "41",
    ]);
    clock.advance(1_000);
    const long = `/debug/sandboxes?q=${"x".repeat(3_000)}`;
    expect([await ask(long, "max-age=1"), await ask(long, "max-age=1")]).toEqual(["42", "43"]);
  });

  test("SharedAnswers: copies status and headers, and forgets what failed", async () => {
    const { shared } = createStage();
    const url = new URL("http://localhost/debug/status");
    const query = { request: new Request(url.href, { headers: { "Cache-Control": "max-age=1" } }), url, peer: "" };
    const failed = await shared.answer(query, () => Promise.reject(new Error("broken"))).catch(String);
    expect(failed).toBe("Error: broken");
    const make = () => Promise.resolve(new Response("busy", { status: 503, headers: { "Retry-After": "1" } }));
    for (const answer of [await shared.answer(query, make), await shared.answer(query, make)]) {
      expect([answer.status, answer.headers.get("retry-after"), await answer.text()]).toEqual([503, "1", "busy"]);
    }
  });
});
