import { expect, test } from "bun:test";
import { createFakeClock } from "../../../scripts/lib/stage/fake-clock.ts";
import { CHECK_MAX_MS, runCheck } from "../../../src/doctor/finding.ts";

test("runCheck ends a check that hangs, and aborts its signal", async () => {
  const clock = createFakeClock();
  let seen: AbortSignal | undefined;
  const finding = runCheck("thing", clock, (signal) => {
    seen = signal;
    return new Promise(() => {});
  });
  clock.advance(CHECK_MAX_MS - 1);
  expect(seen?.aborted).toBe(false);
  clock.advance(1);
  expect(await finding).toEqual({ name: "thing", state: "fail", detail: "no result within 10 s" });
  expect(seen?.aborted).toBe(true);
});

test("runCheck makes a finding of whatever is thrown, and shows no message", async () => {
  const clock = createFakeClock();
  const thrown = [new TypeError("secret"), Object.assign(new Error("secret"), { code: "EIO" }), "secret"];
  for (const what of thrown) {
    const finding = await runCheck("thing", clock, () => Promise.reject(what));
    expect(finding.state).toBe("fail");
    expect(JSON.stringify(finding)).not.toContain("secret");
  }
});
