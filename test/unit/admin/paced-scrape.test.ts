import { describe, expect, test } from "bun:test";

import { createFakeClock } from "../../../scripts/lib/stage/fake-clock.ts";
import { createPacedScrape, SCRAPE_INTERVAL_MS } from "../../../src/admin/paced-scrape.ts";

function createStage() {
  const clock = createFakeClock(1_000_000);
  const answers: PromiseWithResolvers<string>[] = [];
  const paced = createPacedScrape({
    clock,
    scrape() {
      const answer = Promise.withResolvers<string>();
      answers.push(answer);
      return answer.promise;
    },
  });
  return { clock, answers, paced };
}

describe("createPacedScrape", () => {
  test("createPacedScrape makes the first answer at once, and no more than one in the interval for all who ask", async () => {
    const { clock, answers, paced } = createStage();
    const first = paced.scrape();
    expect(answers).toHaveLength(1);
    const others = Array.from({ length: 1_000 }, () => paced.scrape());
    clock.advance(SCRAPE_INTERVAL_MS - 1);
    expect(answers).toHaveLength(1);
    clock.advance(1);
    await Bun.sleep(0);
    expect(answers).toHaveLength(2);
    answers[0]?.resolve("one");
    answers[1]?.resolve("two");
    expect(await first).toBe("one");
    expect(new Set(await Promise.all(others))).toEqual(new Set(["two"]));
  });

  test("createPacedScrape gives nobody what was read before they asked", async () => {
    const { clock, answers, paced } = createStage();
    void paced.scrape();
    clock.advance(SCRAPE_INTERVAL_MS);
    const later = paced.scrape();
    expect(answers).toHaveLength(2);
    answers[0]?.resolve("old");
    answers[1]?.resolve("new");
    expect(await later).toBe("new");
  });

  test("createPacedScrape tells a failure to those who asked for this answer, and goes on", async () => {
    const { clock, answers, paced } = createStage();
    const first = paced.scrape();
    const second = paced.scrape();
    answers[0]?.reject(new Error("broken"));
    expect(await first.catch(String)).toBe("Error: broken");
    clock.advance(SCRAPE_INTERVAL_MS);
    await Bun.sleep(0);
    answers[1]?.resolve("fine");
    expect(await second).toBe("fine");
  });
});
