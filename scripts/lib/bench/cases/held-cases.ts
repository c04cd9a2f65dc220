import { readNumbers, startHelper } from "../child-process.ts";
import { NO_MEASUREMENT } from "../measurement.ts";
import { readUsage } from "../process-usage.ts";
import { KIB } from "../stage.ts";
import { ALL, type BenchCase, HOLDERS, measure, PER_MILLION, rawLoad } from "./bench-case.ts";

const STREAMS = 2_000;
const IDLE_TUNNELS = 5_000;
/** Raises the ingress's limits for these cases, which exceed an ordinary sandbox's load. */
const NO_LIMITS = ["--max-requests=0", "--max-requests-per-sandbox=0"];
/** Memory is read after freed memory has been returned. */
const SETTLE_MS = 2_000;
/** Enough for 5,000 handshakes on a busy machine. */
const OPEN_MAX_MS = 120_000;
/** Enough to project 100,000 objects on a busy machine. */
const RECORDS_MAX_MS = 120_000;
const RESULT_NAMES = ["requests", "seconds", "p50Ms", "p99Ms"] as const;

function echoCase(name: string, title: string, messageBytes: number): BenchCase {
  return {
    name,
    title,
    unit: "messages",
    compared: "perSecond",
    contenders: ALL,
    quick: true,
    async run(target, { stage, seconds }) {
      const load = rawLoad(target, stage, { path: "/websocket", connections: 64, messageBytes, seconds });
      const helper = startHelper("websocket-load.ts", [JSON.stringify(load)]);
      try {
        await helper.next(OPEN_MAX_MS);
        return await measure(target, async () => readNumbers(await helper.next(), RESULT_NAMES), PER_MILLION);
      } finally {
        await helper.stop();
      }
    },
  };
}

const idleTunnels: BenchCase = {
  name: "idle-tunnels",
  title: "5,000 idle WebSockets",
  unit: "messages",
  compared: "kbEach",
  contenders: HOLDERS,
  setup: { ingressFlags: NO_LIMITS },
  freshEachRound: true,
  async run(target, { stage }) {
    const connections = IDLE_TUNNELS;
    const load = rawLoad(target, stage, { path: "/websocket", connections });
    const before = readUsage(target.pid);
    const helper = startHelper("websocket-load.ts", [JSON.stringify(load)]);
    try {
      await helper.next(OPEN_MAX_MS);
      await Bun.sleep(SETTLE_MS);
      const { residentBytes } = readUsage(target.pid);
      const kbEach = (residentBytes - before.residentBytes) / connections / 1000;
      return { ...NO_MEASUREMENT, residentMb: residentBytes / 1e6, kbEach };
    } finally {
      await helper.stop();
    }
  },
};

const eventStreams: BenchCase = {
  name: "event-streams",
  title: "2,000 event streams, a frame a second each: delay of a frame",
  unit: "frames",
  compared: "p99Ms",
  contenders: [...HOLDERS, "upstream"],
  setup: { ingressFlags: NO_LIMITS },
  freshEachRound: true,
  async run(target, { stage, seconds }) {
    const connections = STREAMS;
    const load = rawLoad(target, stage, { path: "/events", connections, seconds });
    const before = readUsage(target.pid);
    const helper = startHelper("stream-load.ts", [JSON.stringify(load)]);
    try {
      await helper.next(OPEN_MAX_MS);
      const measured = await measure(target, async () => readNumbers(await helper.next(), RESULT_NAMES), PER_MILLION);
      return { ...measured, kbEach: (measured.residentMb * 1e6 - before.residentBytes) / connections / 1000 };
    } finally {
      await helper.stop();
    }
  },
};

const start: BenchCase = {
  name: "start",
  title: "Start to the first forwarded answer",
  unit: "starts",
  compared: "startMs",
  contenders: HOLDERS,
  quick: true,
  freshEachRound: true,
  async run(target) {
    await Bun.sleep(SETTLE_MS / 2);
    return { ...NO_MEASUREMENT, startMs: target.startMs, residentMb: readUsage(target.pid).residentBytes / 1e6 };
  },
};

/** What the table needs for a sandbox, in a process that holds nothing else: without and with the nine annotations. */
const records: BenchCase = {
  name: "records",
  title: "100,000 sandboxes in the table: heap of each",
  unit: "records",
  compared: "kbEach",
  contenders: ["ingress", "policy"],
  quick: true,
  standsAlone: true,
  async run(target) {
    const helper = startHelper("record-memory.ts", [target.name === "policy" ? "policy" : "plain"]);
    try {
      const { bytesEach } = readNumbers(await helper.next(RECORDS_MAX_MS), ["bytesEach"]);
      return { ...NO_MEASUREMENT, kbEach: bytesEach / 1000 };
    } finally {
      await helper.stop();
    }
  },
};

export const ECHO_CASES: readonly BenchCase[] = [
  echoCase("echo-64", "WebSocket echo 64 B, 64 connections", 64),
  echoCase("echo-16k", "WebSocket echo 16 KB, 64 connections", 16 * KIB),
];

/** What is held open or kept in memory, and the start. */
export const HELD_CASES: readonly BenchCase[] = [eventStreams, idleTunnels, start, records];
