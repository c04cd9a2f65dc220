import type { ContenderName } from "../contender-names.ts";
import type { Running, Setup } from "../contenders.ts";
import { type HttpRequest, runHey, runWrk } from "../http-load.ts";
import { KIB, SANDBOX, sandboxNames, signedRoute, type Stage } from "../stage.ts";
import { ALL, type BenchCase, measure, PER_MILLION, requestFor, routeHeader } from "./bench-case.ts";

/** Those that can be told which of many sandboxes is meant. The bare forwarder ignores it: all have one upstream. */
const ROUTERS: readonly ContenderName[] = ["ingress", "bare", "nginx", "haproxy", "go", "upstream"];
/** For what only the ingress does: without the contenders that add nothing to the comparison. */
const LIGHT: readonly ContenderName[] = ["ingress", "nginx", "haproxy", "upstream"];

const SANDBOXES_IN_TABLE = 100_000;
const HALF_LOAD_CONNECTIONS = 32;

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
      measure(target, () => runWrk(request(target, stage), { connections, seconds }, stage.folder), PER_MILLION),
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

/** Each request goes to the next sandbox; nginx, HAProxy and the ingress keep connections for each of them. */
function inTurn(name: string, options: { readonly sandboxes: number; readonly connections: number }): BenchCase {
  const { sandboxes, connections } = options;
  const count = sandboxes.toLocaleString("en-US");
  return httpCase(name, `GET 1 KB, ${count} sandboxes in turn, ${connections} connections`, {
    connections,
    contenders: ROUTERS,
    setup: { sandboxes, routeAll: true },
    request: (target, stage) => ({
      ...requestFor(target, stage, "/1k"),
      rotate: {
        header: "OpenSandbox-Ingress-To",
        values: sandboxNames(sandboxes).map((sandbox) => `${sandbox}-${stage.upstreamPort}`),
      },
    }),
  });
}

/** One answer of 1 MB in chunks after the other. */
const chunked = (target: Running, stage: Stage): HttpRequest => ({
  url: `${target.name === "upstream" ? `http://127.0.0.1:${stage.chunkedPort}` : target.origin}/chunked/1m`,
  headers: routeHeader(stage.chunkedPort),
});

export const HTTP_CASES: readonly BenchCase[] = [
  httpCase("get-1k-1", "GET 1 KB, 1 connection", { connections: 1, request: get("/1k") }),
  httpCase("get-1k-64", "GET 1 KB, 64 connections", { connections: 64, quick: true, request: get("/1k") }),
  httpCase("get-1k-512", "GET 1 KB, 512 connections", { connections: 512, request: get("/1k") }),
  httpCase("post-256", "POST 256 B, 64 connections", { connections: 64, quick: true, request: post(256) }),
  httpCase("post-64k", "POST 64 KB, 64 connections", { connections: 64, request: post(64 * KIB) }),
  httpCase("get-1m-16", "GET 1 MB, 16 connections", { connections: 16, quick: true, request: get("/1m") }),
  httpCase("chunked-1m-16", "GET 1 MB in chunks, 16 connections", { connections: 16, request: chunked }),
];

export const SANDBOX_CASES: readonly BenchCase[] = [
  inTurn("sandboxes-100", { sandboxes: 100, connections: 64 }),
  { ...inTurn("sandboxes-1000", { sandboxes: 1_000, connections: 64 }), quick: true },
  inTurn("sandboxes-1000-512", { sandboxes: 1_000, connections: 512 }),
  routed("sandboxes-100000", "GET 1 KB with 100,000 sandboxes in the table", {
    setup: { sandboxes: SANDBOXES_IN_TABLE },
    route: get("/1k"),
  }),
];

/** A new connection each, and the forms of a route. */
export const ROUTE_CASES: readonly BenchCase[] = [
  httpCase("new-connections", "GET 1 KB, a new connection each, 64 at a time", {
    connections: 64,
    request: (target, stage) => ({
      ...requestFor(target, stage, "/1k"),
      headers: { ...routeHeader(stage.upstreamPort), Connection: "close" },
      closes: true,
    }),
  }),
  routed("route-host", "GET 1 KB, routed by Host", {
    route: ({ origin }, { upstreamPort }) => ({
      url: `${origin}/1k`,
      headers: { Host: `${SANDBOX}-${upstreamPort}.sandboxes.test` },
    }),
  }),
  routed("route-uri", "GET 1 KB, routed by URI", {
    setup: { mode: "uri" },
    route: ({ origin }, { upstreamPort }) => ({ url: `${origin}/${SANDBOX}/${upstreamPort}/1k`, headers: {} }),
  }),
  routed("route-signed", "GET 1 KB, signed route", {
    route: ({ origin }, { upstreamPort }) => ({
      url: `${origin}/1k`,
      headers: { "OpenSandbox-Ingress-To": signedRoute(upstreamPort) },
    }),
  }),
];

/** The ingress against itself: the sandbox of all other cases, and one with all nine annotations. */
export const policyCase: BenchCase = httpCase("policy", "GET 1 KB, 64 connections", {
  connections: 64,
  contenders: ["ingress", "policy"],
  request: get("/1k"),
});

export const halfLoadCase: BenchCase = {
  name: "half-load",
  title: "GET 1 KB at half of what the ingress takes, the same rate for all",
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
      PER_MILLION,
    ),
};
