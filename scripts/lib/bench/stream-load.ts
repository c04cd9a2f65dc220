// stream-load.ts: event streams that are held open, and how late their frames come. No load generator of Debian does
// this.
import { endWithParent } from "./child-process.ts";
import { buildHead, openAll, readRawLoad } from "./raw-load.ts";
import { LatencyHistogram } from "./statistics.ts";

const FRAME = /data: (\d+\.\d+)/g;

const load = readRawLoad();
const histogram = new LatencyHistogram();
const failed = Promise.withResolvers<never>();

async function open(): Promise<void> {
  const begun = Promise.withResolvers<void>();
  let head = "";
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port: load.port,
    socket: {
      data(_socket, bytes) {
        const text = bytes.toString("latin1");
        if (!head.includes(": open")) {
          head += text;
          if (!head.includes(": open")) return;
          if (!head.startsWith("HTTP/1.1 200")) failed.reject(new Error(`no stream: ${head.slice(0, 40)}`));
          begun.resolve();
        }
        // A frame is written and read in one piece. One in two pieces would not be counted, but this does not happen.
        const now = performance.timeOrigin + performance.now();
        for (const [, sentAt] of text.matchAll(FRAME)) histogram.add(now - Number(sentAt));
      },
      close: () => failed.reject(new Error("the other side closed a stream")),
    },
  });
  socket.write(buildHead(load, []));
  await begun.promise;
}

endWithParent();
await openAll(load, open, failed.promise);
// Every stream has had a frame or two by now: the steady state is measured.
await Promise.race([Bun.sleep(2_000), failed.promise]);
console.log(JSON.stringify({ opened: load.connections }));
histogram.reset();
await Promise.race([Bun.sleep(load.seconds * 1000), failed.promise]);
const result = {
  requests: histogram.count,
  seconds: load.seconds,
  p50Ms: histogram.percentile(0.5),
  p99Ms: histogram.percentile(0.99),
};
console.log(JSON.stringify(result));
