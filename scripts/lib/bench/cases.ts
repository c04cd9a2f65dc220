import { readNumbers, startHelper } from "./child-process.ts";
import type { ContenderName, Running, Setup } from "./contenders.ts";
import { type HttpRequest, type LoadResult, runCurl, runHey, runWrk } from "./http-load.ts";
import { type CaseResult, type Measurement, NO_MEASUREMENT } from "./measurement.ts";
import type { RawLoad } from "./raw-load.ts";
import { readUsage } from "./process-usage.ts";
import { GIB, SANDBOX, sandboxNames, signedRoute, type Stage } from "./stage.ts";

/** A case: the load on each contender, and the numbers to report. */
export interface BenchCase extends Pick<CaseResult, "name" | "title" | "unit" | "compared"> {
  readonly contenders: readonly ContenderName[];
  readonly setup?: Setup;
  /** Part of `--quick`. */
  readonly quick?: boolean;
  /** A process can be measured only once. Each round starts a new one. */
  readonly freshEachRound?: boolean;
  /** The program that makes the load. */
  readonly needs?: "wrk" | "hey" | "curl";
  /** Determined once, before the first round, with the first contender. */
  readonly calibrate?: (target: Running, context: RunContext) => Promise<number>;
  readonly run: (target: Running, context: RunContext) => Promise<Measurement>;
}

/** The input of a round. */
export interface RunContext {
  readonly stage: Stage;
  readonly seconds: number;
  /** The result of `calibrate`. */
  readonly calibrated: number;
}

const ALL: readonly ContenderName[] = ["ingress", "bare", "nginx", "haproxy", "caddy", "upstream"];
const LIGHT: readonly ContenderName[] = ["ingress", "nginx", "haproxy", "upstream"];
/** Only proxies: without one there is no memory to measure. */
const HOLDERS: readonly ContenderName[] = ["ingress", "bare", "nginx", "haproxy"];

const KIB = 1024;
const STREAMS = 2_000;
const IDLE_TUNNELS = 5_000;
const SANDBOXES_IN_TURN = 1_000;
const SANDBOXES_IN_TABLE = 100_000;
/** Raises the ingress's limits for these cases, which exceed an ordinary sandbox's load. */
const NO_LIMITS = ["--max-requests=0", "--max-requests-per-sandbox=0"];
const HALF_LOAD_CONNECTIONS = 32;
/** Memory is read after freed memory has been returned. */
const SETTLE_MS = 2_000;

function routeHeader(port: number): Record<string, string> {
  return { "OpenSandbox-Ingress-To": `${SANDBOX}-${port}` };
}

function rawLoad(
  target: Running,
  stage: Stage,
  what: Pick<RawLoad, "path" | "connections"> & Partial<RawLoad>,
): RawLoad {
  return { port: target.port, route: `${SANDBOX}-${stage.upstreamPort}`, messageBytes: 0, seconds: 0, ...what };
}

function requestFor(target: Running, stage: Stage, path: string): HttpRequest {
  return { url: `http://127.0.0.1:${target.port}${path}`, headers: routeHeader(stage.upstreamPort) };
}

/** Runs a load and measures the contender's usage meanwhile. */
async function measure(target: Running, load: () => Promise<LoadResult>, perCpu: number): Promise<Measurement> {
  const before = readUsage(target.pid);
  const result = await load();
  const after = readUsage(target.pid);
  return {
    ...NO_MEASUREMENT,
    perSecond: result.requests / result.seconds,
    cpu: ((after.cpuSeconds - before.cpuSeconds) / result.requests) * perCpu,
    p50Ms: result.p50Ms,
    p99Ms: result.p99Ms,
    residentMb: after.residentBytes / 1e6,
  };
}

const MILLION = 1e6;

interface HttpCaseOptions {
  readonly connections: number;
  readonly contenders?: readonly ContenderName[];
  readonly quick?: boolean;
  readonly setup?: Setup;
  readonly request: (target: Running, stage: Stage) => HttpRequest;
}

function httpCase(name: string, title: string, options: HttpCaseOptions): BenchCase {
  const { connections, contenders = ALL, quick = false, setup = {}, request } = options;
  return {
    name,
    title,
    unit: "requests",
    compared: "perSecond",
    needs: "wrk",
    contenders,
    quick,
    setup,
    run: (target, { stage, seconds }) =>
      measure(target, () => runWrk(request(target, stage), { connections, seconds }, stage.folder), MILLION),
  };
}

const get = (path: string) => (target: Running, stage: Stage) => requestFor(target, stage, path);
const post =
  (bodyBytes: number) =>
  (target: Running, stage: Stage): HttpRequest => ({
    ...requestFor(target, stage, "/post"),
    method: "POST",
    bodyBytes,
  });

/** The ingress finds the sandbox in the given way. The others have one upstream and need not find it. */
function routed(
  name: string,
  title: string,
  options: { readonly setup?: Setup; readonly route: (target: Running, stage: Stage) => HttpRequest },
): BenchCase {
  return httpCase(name, title, {
    connections: 64,
    contenders: LIGHT,
    setup: options.setup ?? {},
    request: (target, stage) =>
      target.name === "ingress" ? options.route(target, stage) : requestFor(target, stage, "/1k"),
  });
}

function transferCase(name: string, title: string, direction: "down" | "up"): BenchCase {
  return {
    name,
    title,
    unit: "GB",
    compared: "perSecond",
    needs: "curl",
    contenders: ALL,
    run(target, { stage }) {
      if (direction === "down") {
        return measure(target, () => runCurl(requestFor(target, stage, "/1g"), { bytes: GIB }), 1);
      }
      const port = target.name === "upstream" ? stage.sinkPort : target.port;
      const request = { url: `http://127.0.0.1:${port}/upload`, headers: routeHeader(stage.sinkPort) };
      return measure(target, () => runCurl(request, { bytes: GIB, uploadFile: stage.largeFile }), 1);
    },
  };
}

const RESULT_NAMES = ["requests", "seconds", "p50Ms", "p99Ms"] as const;
/** Enough for 5,000 handshakes on a busy machine. */
const OPEN_MAX_MS = 120_000;

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
        return await measure(target, async () => readNumbers(await helper.next(), RESULT_NAMES), MILLION);
      } finally {
        await helper.stop();
      }
    },
  };
}

const idleTunnels: BenchCase = {
  name: "idle-tunnels",
  title: "5,000 idle WebSockets: memory of each",
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
  title: "2,000 event streams, a frame a second each: delay of a frame, memory of a stream",
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
      const measured = await measure(target, async () => readNumbers(await helper.next(), RESULT_NAMES), MILLION);
      return { ...measured, kbEach: (measured.residentMb * 1e6 - before.residentBytes) / connections / 1000 };
    } finally {
      await helper.stop();
    }
  },
};

const halfLoad: BenchCase = {
  name: "half-load",
  title: "GET 1 KB at half of what the ingress takes, the same rate for all: p99",
  unit: "requests",
  compared: "p99Ms",
  needs: "hey",
  contenders: ALL,
  async calibrate(target, { stage, seconds }) {
    const load = { connections: HALF_LOAD_CONNECTIONS, seconds };
    const { requests, seconds: took } = await runWrk(requestFor(target, stage, "/1k"), load, stage.folder);
    return requests / took / 2;
  },
  run: (target, { stage, seconds, calibrated }) =>
    measure(
      target,
      () =>
        runHey(
          requestFor(target, stage, "/1k"),
          { connections: HALF_LOAD_CONNECTIONS, seconds },
          { perSecond: calibrated },
        ),
      MILLION,
    ),
};

const start: BenchCase = {
  name: "start",
  title: "From the start of the process to the first forwarded answer; memory when idle",
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

export const CASES: readonly BenchCase[] = [
  httpCase("get-1k-1", "GET 1 KB, 1 connection", { connections: 1, request: get("/1k") }),
  httpCase("get-1k-64", "GET 1 KB, 64 connections", { connections: 64, quick: true, request: get("/1k") }),
  httpCase("get-1k-512", "GET 1 KB, 512 connections", { connections: 512, request: get("/1k") }),
  httpCase("post-256", "POST 256 B, 64 connections", { connections: 64, quick: true, request: post(256) }),
  httpCase("post-64k", "POST 64 KB, 64 connections", { connections: 64, request: post(64 * KIB) }),
  httpCase("get-1m-16", "GET 1 MB, 16 connections", { connections: 16, quick: true, request: get("/1m") }),
  transferCase("download-1g", "1 GB download, one stream", "down"),
  transferCase("upload-1g", "1 GB upload, one stream", "up"),
  echoCase("echo-64", "WebSocket echo 64 B, 64 connections", 64),
  echoCase("echo-16k", "WebSocket echo 16 KB, 64 connections", 16 * KIB),
  eventStreams,
  idleTunnels,
  httpCase("sandboxes-1000", "GET 1 KB, 1,000 sandboxes in turn, 64 connections", {
    connections: 64,
    contenders: LIGHT,
    setup: { sandboxes: SANDBOXES_IN_TURN, routeAll: true },
    request: (target, stage) => ({
      ...requestFor(target, stage, "/1k"),
      rotate: {
        header: "OpenSandbox-Ingress-To",
        values: sandboxNames(SANDBOXES_IN_TURN).map((name) => `${name}-${stage.upstreamPort}`),
      },
    }),
  }),
  httpCase("new-connections", "GET 1 KB, a new connection for each request, 64 at a time", {
    connections: 64,
    request: (target, stage) => ({
      ...requestFor(target, stage, "/1k"),
      headers: { ...routeHeader(stage.upstreamPort), Connection: "close" },
      closes: true,
    }),
  }),
  routed("route-host", "GET 1 KB, routed by Host", {
    route: (target, stage) => ({
      url: `http://127.0.0.1:${target.port}/1k`,
      headers: { Host: `${SANDBOX}-${stage.upstreamPort}.sandboxes.test` },
    }),
  }),
  routed("route-uri", "GET 1 KB, routed by URI", {
    setup: { mode: "uri" },
    route: (target, stage) => ({
      url: `http://127.0.0.1:${target.port}/${SANDBOX}/${stage.upstreamPort}/1k`,
      headers: {},
    }),
  }),
  routed("route-signed", "GET 1 KB, routed by a signed header", {
    route: (target, stage) => ({
      url: `http://127.0.0.1:${target.port}/1k`,
      headers: { "OpenSandbox-Ingress-To": signedRoute(stage.upstreamPort) },
    }),
  }),
  routed("sandboxes-100000", "GET 1 KB with 100,000 sandboxes in the table", {
    setup: { sandboxes: SANDBOXES_IN_TABLE },
    route: get("/1k"),
  }),
  halfLoad,
  start,
];
