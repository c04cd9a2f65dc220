import type { Server } from "bun";

import { formatUrlHost } from "../address.ts";
import type { DescriptorPressure } from "../host/descriptors.ts";
import type { Logger } from "../log/logger.ts";
import { buildGateRefusal, buildOperatorText, buildText, OPERATOR_HEADERS } from "./admin-answers.ts";
import type { AdminPage, AdminQuery } from "./admin-page.ts";
import type { AdminGate } from "./gate.ts";
import { formatHealth, type HealthCheck, isHealthy } from "./health.ts";
import { messageOf } from "../values.ts";

/** Seconds without a byte before a connection is closed. Scrapes and probes come every 15 to 60 s. */
const IDLE_TIMEOUT_SECONDS = 90;
/**
 * The longest body in bytes. The longest is a question to `/debug/explain`, with a URL and headers of at most 64 KiB by
 * default.
 */
export const ADMIN_BODY_MAX_BYTES = 160 * 1024;

/**
 * Least time between two restarts of the listener, in milliseconds. Probes and scrapes take less, so most are not cut. In this time
 * few of the connections come back that kept descriptors from the traffic port.
 */
export const ADMIN_RESTART_INTERVAL_MS = 1_000;

/** Prometheus exposition format 0.0.4. */
const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** All paths below this are for operators, whether the page exists or not. */
const DEBUG_PREFIX = "/debug/";
/**
 * The path at which a browser is asked for the token. The page is at the root, so that the browser sends the token to
 * all other pages (RFC 7617 §2.2).
 */
const LOGIN_PATH = "/login";

export interface AdminServerOptions {
  /** `--admin-host`. */
  readonly host: string;
  /** `--admin-port`; 0 takes a free port. */
  readonly port: number;
  readonly metrics: { scrape(): Promise<string> };
  /** The readiness checks. They run at every probe. */
  readonly checks: () => readonly HealthCheck[];
  readonly gate: AdminGate;
  /** Pages below `/debug/`, which name sandboxes. Only clients that the gate admits see them. */
  readonly debugPages: readonly AdminPage[];
  /**
   * Further pages for clients that the gate admits. One with the path `/` replaces the index for them. Default: no
   * pages.
   */
  readonly operatorPages?: readonly AdminPage[];
  readonly logger: Logger;
}

/**
 * The operator's port: probes and metrics for the kubelet and Prometheus, and pages for operators, which name
 * sandboxes.
 */
export interface AdminServer {
  /** Listens on `host`; default: the host of the options. Rejects if the address is not available. */
  start(host?: string): Promise<{ readonly port: number }>;
  /**
   * Reacts to the pressure on file descriptors. Whoever reaches this port, such as a sandbox, could else use up the descriptors
   * of the traffic port. `short`: closes idle connections. `exhausted`: closes all connections and listens again, at most once in
   * `ADMIN_RESTART_INTERVAL_MS`. Call it at each count: it also listens again where that failed before.
   * @param nowMs Monotonic.
   */
  relieve(pressure: DescriptorPressure, nowMs: number): void;
  /** Stops at once and cuts open answers. Idempotent. */
  stop(): Promise<void>;
}

export function createAdminServer(options: AdminServerOptions): AdminServer {
  const { logger } = options;
  const answer = createAnswer(options);
  let server: Server<undefined> | undefined;
  /** Where it listens; undefined: it was not started, or was stopped. */
  let place: { readonly hostname: string; readonly port: number } | undefined;
  let restartedAtMs = Number.NEGATIVE_INFINITY;

  const listen = (at: { readonly hostname: string; readonly port: number }): Server<undefined> =>
    Bun.serve({
      ...at,
      idleTimeout: IDLE_TIMEOUT_SECONDS,
      maxRequestBodySize: ADMIN_BODY_MAX_BYTES,
      development: false,
      // The default would share the port with any other process that listens there.
      reusePort: false,
      fetch: (request, bun) => answer(request, bun.requestIP(request)?.address ?? ""),
      error(error) {
        logger.error("cannot answer on the admin port", { cause: error.message });
        return buildText("internal error\n", 500);
      },
    });
  const restart = (nowMs: number): void => {
    if (place === undefined || nowMs - restartedAtMs < ADMIN_RESTART_INTERVAL_MS) return;
    restartedAtMs = nowMs;
    void server?.stop(true);
    server = undefined;
    try {
      server = listen(place);
    } catch (thrown) {
      logger.error("cannot listen on the admin port again", { cause: messageOf(thrown) });
    }
  };

  return {
    start(host = options.host) {
      return Promise.try(() => {
        server = listen({ hostname: host, port: options.port });
        const port = server.port ?? options.port;
        place = { hostname: host, port };
        logger.info("admin port is open", { address: `${formatUrlHost(host)}:${port}` });
        return { port };
      });
    },
    relieve(pressure, nowMs) {
      if (pressure === "short") server?.closeIdleConnections();
      if (pressure === "exhausted" || server === undefined) restart(nowMs);
    },
    async stop() {
      place = undefined;
      await server?.stop(true);
      server = undefined;
    },
  };
}

type Answer = (request: Request, peer: string) => Response | Promise<Response>;

function createAnswer(options: AdminServerOptions): Answer {
  const { gate, debugPages, operatorPages = [] } = options;
  const probes = listProbes(options);
  const index = `OpenSandbox Ingress\n\n${formatIndex(probes)}`;
  const operatorIndex = `${index}\n${formatIndex(debugPages)}`;
  const forOperators: readonly AdminPage[] = [
    ...operatorPages,
    ...debugPages,
    { path: "/", title: "this page", method: "GET", answer: () => buildOperatorText(operatorIndex) },
  ];
  const forAll: readonly AdminPage[] = [
    ...probes,
    { path: "/", title: "this page", method: "GET", answer: () => buildText(index, 200) },
  ];
  return (request, peer) => {
    // The URL is relative if the Host header is missing (HTTP/1.0), and invalid if the header is odd.
    const url = URL.parse(request.url, "http://admin");
    if (url === null) return buildText("invalid request\n", 400);
    const query: AdminQuery = { request, url, peer };
    const { pathname } = url;
    const probe = probes.find(({ path }) => path === pathname);
    if (probe !== undefined) return answerPage(probe, query);
    const verdict = gate.judge(request, peer);
    const page = forOperators.find(({ path }) => path === pathname);
    if (pathname === LOGIN_PATH && gate.hasToken) {
      if (verdict.kind === "refused") return buildGateRefusal(verdict);
      return new Response(null, { status: 303, headers: { ...OPERATOR_HEADERS, Location: "/" } });
    }
    if (verdict.kind === "admitted" && page !== undefined) return answerPage(page, query);
    if (verdict.kind === "refused") {
      const open = forAll.find(({ path }) => path === pathname);
      if (open !== undefined) return answerPage(open, query);
      if (page !== undefined || pathname.startsWith(DEBUG_PREFIX)) return buildGateRefusal(verdict);
    }
    return buildText("not found\n", 404);
  };
}

function answerPage(page: AdminPage, query: AdminQuery): Response | Promise<Response> {
  const { method } = query.request;
  if (method === page.method || (method === "HEAD" && page.method === "GET")) return page.answer(query);
  const refusal = buildText("method not allowed\n", 405);
  refusal.headers.set("Allow", page.method === "GET" ? "GET, HEAD" : page.method); // RFC 9110 §15.5.6
  return refusal;
}

/** The pages that everybody may see. They name no sandbox. */
function listProbes({ checks, metrics }: AdminServerOptions): readonly AdminPage[] {
  return [
    {
      path: "/livez",
      title: "the process runs",
      method: "GET",
      answer: ({ url }) => buildHealth("livez", [{ name: "ping", ok: true, detail: "" }], url),
    },
    {
      path: "/readyz",
      title: "send traffic; ?verbose names the checks",
      method: "GET",
      answer: ({ url }) => buildHealth("readyz", checks(), url),
    },
    {
      path: "/metrics",
      title: "for Prometheus",
      method: "GET",
      answer: async () => buildText(await metrics.scrape(), 200, METRICS_TYPE),
    },
  ];
}

function formatIndex(pages: readonly AdminPage[]): string {
  const width = Math.max(10, ...pages.map(({ path }) => path.length + 2));
  return pages.map(({ path, title }) => `${path.padEnd(width)}${title}\n`).join("");
}

function buildHealth(probe: "livez" | "readyz", checks: readonly HealthCheck[], url: URL): Response {
  const text = formatHealth(probe, checks, { verbose: url.searchParams.has("verbose") });
  return buildText(text, isHealthy(checks) ? 200 : 503);
}
