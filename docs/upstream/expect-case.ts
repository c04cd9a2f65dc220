// Bun.serve compares the value of Expect with case.
//
// Expected: "100 Continue" for "Expect: 100-Continue" as for "100-continue": the value has no case (RFC 9110 §10.1.1).
// What happens: only the lower case gets a 100.
// What it costs: clients that write it with capitals (Apache HttpComponents 4, hand-written ones) wait for their limit, 1 to
// 2 s, before each upload; clients without a limit hang.
import { connect } from "node:net";

const WAIT_MS = 1_000;
setTimeout(() => end(false), 14_000).unref();

const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  fetch: async (request) => new Response(await request.text()),
});

/** Milliseconds until the 100, or -1 for none within the limit. */
function waitFor100(value: string, limitMs?: number): Promise<number> {
  return new Promise((resolve) => {
    const start = performance.now();
    const client = connect(server.port ?? 0, "127.0.0.1", () =>
      client.write(`POST / HTTP/1.1\r\nHost: x\r\nExpect: ${value}\r\nContent-Length: 2\r\n\r\n`),
    );
    const finish = (ms: number) => {
      client.destroy();
      console.log(`Expect: ${value}: ${ms < 0 ? `no 100 within ${limitMs} ms` : `100 after ${ms.toFixed(1)} ms`}`);
      resolve(ms);
    };
    client.on("data", () => finish(performance.now() - start));
    if (limitMs !== undefined) setTimeout(() => client.destroyed || finish(-1), limitMs);
  });
}

function end(isReproduced: boolean): never {
  console.log(isReproduced ? "REPRODUCED" : "NOT REPRODUCED");
  process.exit();
}

const lower = await waitFor100("100-continue");
const capital = await waitFor100("100-Continue", WAIT_MS);
end(lower >= 0 && capital < 0);
