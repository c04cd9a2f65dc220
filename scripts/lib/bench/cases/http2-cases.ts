import { runH2load } from "../h2load.ts";
import { sandboxNames } from "../stage.ts";
import type { ContenderName } from "../contender-names.ts";
import { type BenchCase, measure, PER_MILLION, requestFor } from "./bench-case.ts";

/** The upstream and the Go ingress serve no HTTP/2 without TLS. All speak HTTP/1.1 to the upstream. */
const CONTENDERS: readonly ContenderName[] = ["ingress", "bare", "nginx", "haproxy", "caddy"];
/** Caddy would need a route for each sandbox. */
const ROUTERS: readonly ContenderName[] = ["ingress", "bare", "nginx", "haproxy"];
/** Less than what any of them allows on a connection: HAProxy 100, nginx 128. */
const STREAMS = 64;
const SANDBOXES = 1_000;

const COMMON = { unit: "requests", compared: "perSecond", needs: "h2load" } as const;

function oneConnection(name: string, title: string, options: { readonly tls: boolean }): BenchCase {
  return {
    ...COMMON,
    name,
    title,
    contenders: CONTENDERS,
    quick: !options.tls,
    setup: { http2: true, tls: options.tls },
    run: (target, { stage, seconds }) =>
      measure(
        target,
        () => {
          const { url, headers } = requestFor(target, stage, "/1k");
          return runH2load({ urls: [url], headers }, { connections: 1, streams: STREAMS, seconds }, stage.folder);
        },
        PER_MILLION,
      ),
  };
}

/**
 * h2load sends the same headers with every request, so that the sandbox is named in the path here. For the programs on
 * both sides this is a header of the stream, too: `:path`.
 */
const manySandboxes: BenchCase = {
  ...COMMON,
  name: "h2-sandboxes-1000",
  title: "HTTP/2: GET 1 KB, 1,000 sandboxes in turn by URI, 1 connection with 64 streams",
  contenders: ROUTERS,
  setup: { http2: true, mode: "uri", sandboxes: SANDBOXES, routeAll: true },
  run: (target, { stage, seconds }) =>
    measure(
      target,
      () => {
        const urls = sandboxNames(SANDBOXES).map((name) => `${target.origin}/${name}/${stage.upstreamPort}/1k`);
        return runH2load({ urls, headers: {} }, { connections: 1, streams: STREAMS, seconds }, stage.folder);
      },
      PER_MILLION,
    ),
};

export const HTTP2_CASES: readonly BenchCase[] = [
  oneConnection("h2-get-1k", "HTTP/2: GET 1 KB, 1 connection with 64 streams", { tls: false }),
  oneConnection("h2-tls-get-1k", "HTTP/2 with TLS: GET 1 KB, 1 connection with 64 streams", { tls: true }),
  manySandboxes,
];
