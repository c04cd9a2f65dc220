// Without free file descriptors, Bun's accept loop spins.
//
// Expected: a listener that cannot accept rests for a while, or accepts with a descriptor in reserve and closes at once
// (accept(2): EMFILE leaves the connection in the queue, so epoll reports it again and again).
// What happens: the event loop tries again without a pause, and nobody is told.
// What it costs: processor time, up to a core, for as long as one client waits. All else in the process is slower.
import { closeSync, openSync } from "node:fs";
import { connect } from "node:net";

const MEASURE_MS = 1_000;
const MEASURE_MAX_MS = 8_000;
/** A process that waits takes less in all that time; one that spins takes it soon, on a busy machine too. */
const SPINNING_MS = 100;

if (Bun.argv[2] !== "limited") {
  // The same file once more, with few descriptors.
  const command = ["sh", "-c", 'ulimit -n 200 && exec "$0" "$1" limited', process.execPath, import.meta.path];
  const { exitCode } = Bun.spawnSync(command, { stdio: ["ignore", "inherit", "inherit"], timeout: 14_000 });
  if (exitCode !== 0) console.log("NOT REPRODUCED");
  process.exit();
}

/** Waits, until the process has taken much processor time, or for `maxMs`; returns its milliseconds. */
async function measureCpuMs(name: string, maxMs: number): Promise<number> {
  const start = performance.now();
  const before = process.cpuUsage();
  for (;;) {
    await Bun.sleep(MEASURE_MS);
    const { user, system } = process.cpuUsage(before);
    const [cpuMs, ms] = [(user + system) / 1_000, performance.now() - start];
    if (cpuMs < SPINNING_MS && ms < maxMs) continue;
    console.log(`${name}: ${((100 * cpuMs) / ms).toFixed(1)} % of a core`);
    return cpuMs;
  }
}

const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("ok") });
await (await fetch(server.url)).text();
await measureCpuMs("idle", MEASURE_MS);

const held: number[] = [];
try {
  while (held.length < 1_000) held.push(openSync("/dev/null", "r"));
} catch {
  // All are taken. One is enough for a client, and none is left to accept it.
  closeSync(held.pop() ?? -1);
}
// Bun defers accept until data comes (TCP_DEFER_ACCEPT). The kernel takes the client and its data; only accept() fails.
const client = connect(server.port ?? 0, "127.0.0.1");
await new Promise<void>((resolve) => void client.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n", () => resolve()));
const full = await measureCpuMs("one client and no descriptor", MEASURE_MAX_MS);
console.log(full >= SPINNING_MS ? "REPRODUCED" : "NOT REPRODUCED");
process.exit();
