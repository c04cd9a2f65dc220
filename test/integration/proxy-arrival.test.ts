import { afterAll, describe, expect, test } from "bun:test";
import type { Socket } from "bun";

import { ArrivalGauge } from "../../src/proxy/arrival-gauge.ts";

/** Answers with `length` bytes, of which it sends `now` together with the head, and the rest when told to. */
const rest: (() => void)[] = [];
const server = Bun.listen({
  hostname: "127.0.0.1",
  port: 0,
  socket: { data: (socket, bytes) => answer(socket, bytes.toString()) },
});
afterAll(() => server.stop(true));

function answer(socket: Socket, request: string): void {
  const [, length = 0, now = 0, reason = "OK"] = /^GET \/(\d+)\/(\d+)\/([\w%]+)/.exec(request) ?? [];
  const head = `HTTP/1.1 200 ${reason}\r\nContent-Type: text/plain\r\nContent-Length: ${length}\r\n\r\n`;
  socket.write(head + "x".repeat(Number(now)));
  rest.push(() => void socket.write("x".repeat(Number(length) - Number(now))));
}

const ask = (path: string): Promise<Response> => fetch(`http://127.0.0.1:${server.port}${path}`, { keepalive: false });

/** A gauge that has seen one answer whose body came with its head. */
async function learned(): Promise<ArrivalGauge> {
  const gauge = new ArrivalGauge();
  const answer = await ask("/1024/1024/OK");
  gauge.learn(gauge.weigh(answer, 1024));
  return gauge;
}

describe("ArrivalGauge", () => {
  test("ArrivalGauge knows nothing before it has learned", async () => {
    const gauge = new ArrivalGauge();
    expect(gauge.isWhole(gauge.weigh(await ask("/10/10/OK"), 10))).toBe(false);
  });

  // Should these fail with another Bun, answers are still right, but each costs a twelfth more.
  test.each([
    "/1/1/OK",
    "/10/10/Fine",
    "/1024/1024/OK?query",
    "/8000/8000/OK",
    "/1024/1024/ABCDEFGHIJKLMNOPQRSTUVWXYZ",
  ])("ArrivalGauge sees that the body of %s is here", async (path) => {
    const gauge = await learned();
    const answer = await ask(path);
    expect(gauge.isWhole(gauge.weigh(answer, Number(path.split("/")[1])))).toBe(true);
    expect((await answer.bytes()).byteLength).toBe(Number(path.split("/")[1]));
  });

  test.each(["/1/0/OK", "/10/9/OK", "/1024/0/OK", "/1024/1023/OK", "/1000000/0/OK", `/24/0/${"A".repeat(26)}`])(
    "ArrivalGauge sees that the body of %s is not here, or not all of it",
    async (path) => {
      const gauge = await learned();
      const answer = await ask(path);
      expect(gauge.isWhole(gauge.weigh(answer, Number(path.split("/")[1])))).toBe(false);
      for (const send of rest.splice(0)) send();
      expect((await answer.bytes()).byteLength).toBe(Number(path.split("/")[1]));
    },
  );
});
