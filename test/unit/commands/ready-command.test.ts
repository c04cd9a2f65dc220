import { describe, expect, test } from "bun:test";
import { runReadyCommand, type ReadyCommandSeams } from "../../../src/commands/ready-command.ts";

const CHECKS = "[+]sandboxes-listed ok\nreadyz check passed\n";
const FAILED = "[-]sandboxes-listed failed: permission denied\nreadyz check failed\n";

/** An admin port that gives these answers one after the other, the last one for ever. */
function serveReadyz(...answers: readonly (() => Response)[]) {
  const paths: string[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request) {
      const { pathname, search } = new URL(request.url);
      paths.push(pathname + search);
      return answers[Math.min(paths.length, answers.length) - 1]?.() ?? new Response(null, { status: 500 });
    },
  });
  return { admin: `--admin=http://127.0.0.1:${server.port}`, paths, [Symbol.dispose]: () => void server.stop(true) };
}

const notReady = () => new Response(FAILED, { status: 503 });
const ready = () => new Response(CHECKS);

/** Time that passes only in pauses. */
function fakeTime(): ReadyCommandSeams & { readonly pauses: readonly number[] } {
  const pauses: number[] = [];
  return {
    pauses,
    monotonic: () => pauses.reduce((sum, delayMs) => sum + delayMs, 0),
    pause: (delayMs) => {
      pauses.push(delayMs);
      return Promise.resolve();
    },
  };
}

describe("runReadyCommand", () => {
  test("runReadyCommand prints the checks and exits with 0 if the ingress is ready", async () => {
    using port = serveReadyz(ready);
    const result = await runReadyCommand([port.admin], fakeTime());
    expect(result).toEqual({ stdout: CHECKS, stderr: "", exitCode: 0 });
    expect(port.paths).toEqual(["/readyz?verbose"]);
  });

  test("runReadyCommand asks once without --wait, and prints which check failed", async () => {
    using port = serveReadyz(notReady, ready);
    const time = fakeTime();
    expect(await runReadyCommand([port.admin], time)).toEqual({ stdout: FAILED, stderr: "", exitCode: 1 });
    expect(time.pauses).toEqual([]);
  });

  test("runReadyCommand asks again with --wait until the ingress is ready", async () => {
    using port = serveReadyz(notReady, notReady, ready);
    expect((await runReadyCommand([port.admin, "--wait=10s"], fakeTime())).exitCode).toBe(0);
    expect(port.paths).toHaveLength(3);
  });

  test("runReadyCommand gives up after --wait with the last answer", async () => {
    using port = serveReadyz(notReady);
    const time = fakeTime();
    expect(await runReadyCommand([port.admin, "--wait=3s"], time)).toMatchObject({ stdout: FAILED, exitCode: 1 });
    expect(time.monotonic()).toBe(3_000);
  });

  test("runReadyCommand also waits for an ingress that does not answer yet, and says that it does not", async () => {
    const port = serveReadyz(ready);
    port[Symbol.dispose]();
    const time = fakeTime();
    const result = await runReadyCommand([port.admin, "--wait=2s"], time);
    expect(result).toMatchObject({ stdout: "", exitCode: 1 });
    expect(result.stderr).toContain("Cannot ask the ingress at");
    expect(time.pauses).toEqual([1_000, 1_000]);
  });

  test("runReadyCommand shows no control character of an answer, and follows no redirect", async () => {
    using odd = serveReadyz(() => new Response("\u001b[2Jcleared\n", { status: 503 }));
    expect((await runReadyCommand([odd.admin], fakeTime())).stdout).toBe("\\u001b[2Jcleared\n");
    using other = serveReadyz(ready);
    const elsewhere = other.admin.replace("--admin=", "");
    using away = serveReadyz(() => Response.redirect(`${elsewhere}/readyz`));
    expect((await runReadyCommand([away.admin], fakeTime())).exitCode).toBe(1);
    expect(other.paths).toEqual([]);
  });

  test.each([
    [["now"], "expected flags only"],
    [["--admin=nowhere"], "--admin: expected a URL"],
    [["--admin=http://user:secret@127.0.0.1"], "--admin: expected a URL"],
    [["--wait=soon"], "--wait: "],
    [["--wait=2h"], "--wait: "],
    [["--nope=1"], "unknown flag"],
  ])("runReadyCommand refuses %j with exit code 2, without a secret", async (args, fault) => {
    const result = await runReadyCommand(args, fakeTime());
    expect(result.exitCode).toBe(2);
    expect(result.stderr).toContain(fault);
    expect(result.stderr).not.toContain("secret");
  });

  test("runReadyCommand explains itself with --help", async () => {
    expect((await runReadyCommand(["--help"], fakeTime())).stdout).toStartWith("Usage: ingress ready");
  });
});
