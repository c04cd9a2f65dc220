import type { Server } from "bun";

import { formatUrlHost } from "../address.ts";
import type { Logger } from "../log/logger.ts";
import { formatHealth, type HealthCheck, isHealthy } from "./health.ts";

/** Seconds without a byte before a connection is closed: longer than the 15 to 60 s between two scrapes or probes. */
const IDLE_TIMEOUT_SECONDS = 90;
/** Largest request body, in bytes. No page needs one. */
const BODY_MAX_BYTES = 1024;

/** Prometheus exposition format 0.0.4. */
const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";
const TEXT_TYPE = "text/plain; charset=utf-8";

export interface AdminServerOptions {
  /** `--admin-host`. */
  readonly host: string;
  /** `--admin-port`; 0 takes a free port. */
  readonly port: number;
  readonly metrics: { scrape(): Promise<string> };
  /** The readiness checks, run at every probe. */
  readonly checks: () => readonly HealthCheck[];
  readonly logger: Logger;
}

/** The operator's port: probes and metrics, for kubelet and Prometheus. It names no sandbox. */
export interface AdminServer {
  /** Listens on `host`, by default the option's. Rejects if the address is not available. */
  start(host?: string): Promise<{ readonly port: number }>;
  /** Stops at once and cuts open answers. Idempotent. */
  stop(): Promise<void>;
}

/** One page: a path and its answer to GET. The answer to HEAD has no body. */
interface AdminPage {
  readonly path: string;
  /** For the index. */
  readonly title: string;
  readonly answer: (url: URL) => Response | Promise<Response>;
}

export function createAdminServer(options: AdminServerOptions): AdminServer {
  const { port, logger } = options;
  const pages = listPages(options);
  let server: Server<undefined> | undefined;
  return {
    start(host = options.host) {
      return Promise.try(() => {
        server = Bun.serve({
          hostname: host,
          port,
          idleTimeout: IDLE_TIMEOUT_SECONDS,
          maxRequestBodySize: BODY_MAX_BYTES,
          development: false,
          // The default would share the port with any other process that listens there.
          reusePort: false,
          fetch: (request) => answer(pages, request),
          error(error) {
            logger.error("cannot answer on the admin port", { cause: error.message });
            return buildText("internal error\n", 500);
          },
        });
        const listeningOn = server.port ?? port;
        logger.info("admin port is open", { address: `${formatUrlHost(host)}:${listeningOn}` });
        return { port: listeningOn };
      });
    },
    async stop() {
      await server?.stop(true);
      server = undefined;
    },
  };
}

/** A page that shows more than numbers must check the client's address first. */
function listPages({ checks, metrics }: AdminServerOptions): readonly AdminPage[] {
  const pages: readonly AdminPage[] = [
    {
      path: "/livez",
      title: "the process runs",
      answer: (url) => buildHealth("livez", [{ name: "ping", ok: true, detail: "" }], url),
    },
    {
      path: "/readyz",
      title: "send traffic; ?verbose names the checks",
      answer: (url) => buildHealth("readyz", checks(), url),
    },
    {
      path: "/metrics",
      title: "for Prometheus",
      answer: async () => buildText(await metrics.scrape(), 200, METRICS_TYPE),
    },
  ];
  const index = `OpenSandbox Ingress\n\n${pages.map(({ path, title }) => `${path.padEnd(10)}${title}`).join("\n")}\n`;
  return [...pages, { path: "/", title: "this page", answer: () => buildText(index, 200) }];
}

function answer(pages: readonly AdminPage[], request: Request): Response | Promise<Response> {
  // `request.url` is relative without a Host header (HTTP/1.0), and invalid with an invalid one.
  const url = URL.parse(request.url, "http://admin");
  if (url === null) return buildText("invalid request\n", 400);
  const page = pages.find(({ path }) => path === url.pathname);
  if (page === undefined) return buildText("not found\n", 404);
  if (request.method === "GET" || request.method === "HEAD") return page.answer(url);
  const refusal = buildText("method not allowed\n", 405);
  refusal.headers.set("Allow", "GET, HEAD"); // RFC 9110 §15.5.6
  return refusal;
}

function buildHealth(probe: "livez" | "readyz", checks: readonly HealthCheck[], url: URL): Response {
  const text = formatHealth(probe, checks, { verbose: url.searchParams.has("verbose") });
  return buildText(text, isHealthy(checks) ? 200 : 503);
}

function buildText(text: string, status: number, type = TEXT_TYPE): Response {
  const headers = { "Content-Type": type, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store" };
  return new Response(text, { status, headers });
}
