// Without free file descriptors, Bun's accept loop spins.
//
// Expected: a listener that cannot accept rests for a while, or accepts with a descriptor in reserve and closes at once
// (accept(2): EMFILE leaves the connection in the queue, so epoll reports it again and again).
// What happens: the event loop tries again without a pause, and nobody is told.
// What it costs: processor time, up to a core, for as long as one client waits. All else in the process is slower.
import { closeSync, openSync } from "node:fs";
import { connect } from "node:net";

const MEASURE_MS = 1_500;

if (Bun.argv[2] !== "limited") {
  // The same file once more, with few descriptors.
  const command = ["sh", "-c", 'ulimit -n 200 && exec "$0" "$1" limited', process.execPath, import.meta.path];
  const { exitCode } = Bun.spawnSync(command, { stdio: ["ignore", "inherit", "inherit"], timeout: 14_000 });
  if (exitCode !== 0) console.log("NOT REPRODUCED");
  process.exit();
}

/** Milliseconds of processor time that the process takes while it only waits. */
async function measureCpuMs(): Promise<number> {
  const before = process.cpuUsage();
  await Bun.sleep(MEASURE_MS);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}

const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("ok") });
await (await fetch(server.url)).text();
const idle = await measureCpuMs();

const held: number[] = [];
try {
  while (held.length < 1_000) held.push(openSync("/dev/null", "r"));
} catch {
  // All are taken. One is enough for a client, and none is left to accept it.
  closeSync(held.pop() ?? -1);
}
connect(server.port ?? 0, "127.0.0.1").on("error", () => {});
const full = await measureCpuMs();

const percent = (ms: number) => `${((100 * ms) / MEASURE_MS).toFixed(1)} % of a core`;
console.log(`idle: ${percent(idle)}; one client and no descriptor: ${percent(full)}`);
// A process that waits takes a few milliseconds, on a busy machine too.
console.log(full > 50 && full > 5 * idle ? "REPRODUCED" : "NOT REPRODUCED");
process.exit();
