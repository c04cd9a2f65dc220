import { expect, test } from "bun:test";
import { join } from "node:path";
import { DemoError, type RunningIngress } from "../../../scripts/lib/demo/demo-stage.ts";
import { runDevLoop } from "../../../scripts/lib/demo/dev-loop.ts";
import { eventually } from "../../../scripts/lib/eventually.ts";
import { tempDir } from "../../support/temp-dir.ts";

test("runDevLoop starts again after a change, also when a start failed, and stops what it started", async () => {
  using dir = tempDir();
  const happened: string[] = [];
  let starts = 0;
  const start = async (): Promise<RunningIngress> => {
    starts += 1;
    happened.push(`start ${starts}`);
    if (starts === 2) throw new DemoError("a syntax error");
    const name = `stop ${starts}`;
    const stop = async () => {
      happened.push(name);
      return 0;
    };
    return { host: "127.0.0.1", port: 1, adminPort: 2, exited: Promise.resolve(0), stop };
  };
  const { promise: stopped, resolve: askToStop } = Promise.withResolvers<void>();
  const ended = runDevLoop({ folder: dir.path, start, stopped });
  for (const count of [2, 3]) {
    let change = 0;
    // Written until it is seen: when a watcher begins to watch, nothing tells.
    await eventually(async () => {
      if (starts < count) await Bun.write(join(dir.path, "deeper", `file-${count}`), String(change++));
      if (starts < count) await Bun.sleep(400);
      return starts >= count;
    });
  }
  askToStop();
  await ended;
  expect(happened.slice(0, 4)).toEqual(["start 1", "stop 1", "start 2", "start 3"]);
  expect(happened.at(-1)).toBe(`stop ${starts}`);
});
