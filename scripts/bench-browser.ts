/** What the browser's view costs per request: `./scripts/bench browser`. Compare ratios, not numbers: machines differ. */
import { createCorsPolicy } from "../src/proxy/browser/cors.ts";
import { rewriteAnswerUrls } from "../src/proxy/browser/answer-urls.ts";
import { rewriteOrigin } from "../src/proxy/browser/request-origin.ts";
import { type BrowserConfig, buildBrowserView } from "../src/proxy/browser/view.ts";
import { rewriteRequestHeaders, rewriteResponseHeaders } from "../src/proxy/request/headers.ts";
import { parseRoute } from "../src/route/parse-route.ts";
import { DEFAULT_BROWSER } from "./lib/stage/proxy-harness.ts";

/** Calls in one turn: about 3 ms, mostly less than the system lets a process run without a break. */
const ROUNDS = 1_000;
/** Turns before the first that counts, and those that count. Cases take turns, and the best of each is the least disturbed. */
const WARM_UP_TURNS = 50;
const TURNS = 500;

const HOST = "in.example.com";
const HOST_PORT = "10.1.2.3:8080";
const ADDRESS = { client: "203.0.113.7", peer: "203.0.113.7", peerTrusted: false, isShared: false } as const;
const REQUEST = { accept: "*/*", "accept-encoding": "gzip", "user-agent": "bench", host: HOST };
const ANSWER = { "content-type": "text/plain", "content-length": "2", date: "Thu, 26 Nov 2026 12:00:00 GMT" };
const OWN_PAGE = { ...REQUEST, origin: `https://${HOST}`, referer: `https://${HOST}/sandbox/8080/page` };
const REDIRECT = { ...ANSWER, location: `http://${HOST_PORT}/login`, "set-cookie": "session=1; Path=/; HttpOnly" };

interface Traffic {
  readonly request: Readonly<Record<string, string>>;
  readonly answer: Readonly<Record<string, string>>;
  readonly config: BrowserConfig;
}

/** What every request pays for its headers, whatever is in them. */
function rewriteHeaders({ request, answer }: Traffic): void {
  const headers = new Headers(request);
  rewriteRequestHeaders(headers, headers.toJSON(), {
    address: ADDRESS,
    host: HOST,
    prefix: "",
    scheme: "http",
    requestId: "id",
  });
  rewriteResponseHeaders(new Headers(answer), { closeConnection: false, requestId: "id" });
}

/** The same, and the browser's view of it. */
function createView({ request, answer, config }: Traffic): () => void {
  const route = parseRoute({ path: "/sandbox/8080/page", headers: new Headers(), host: HOST }, "uri");
  const cors = createCorsPolicy(config.corsOrigins);
  return () => {
    const headers = new Headers(request);
    const seen = headers.toJSON();
    const view = buildBrowserView({
      config,
      policy: undefined,
      route,
      isSigned: false,
      grant: { kind: "open" },
      host: HOST,
      hostPort: HOST_PORT,
      scheme: "http",
      address: ADDRESS,
      seen,
      cors: cors?.decide(seen["origin"]),
    });
    rewriteRequestHeaders(headers, seen, { address: ADDRESS, host: HOST, prefix: "", scheme: "http", requestId: "id" });
    rewriteOrigin(headers, seen, view);
    const answered = new Headers(answer);
    rewriteAnswerUrls(answered, rewriteResponseHeaders(answered, { closeConnection: false, requestId: "id" }), view);
  };
}

const plain: Traffic = { request: REQUEST, answer: ANSWER, config: DEFAULT_BROWSER };
const page: Traffic = { request: OWN_PAGE, answer: REDIRECT, config: DEFAULT_BROWSER };
const cases: Readonly<Record<string, readonly [run: () => void, base: string]>> = {
  "headers alone": [() => rewriteHeaders(plain), ""],
  // What differs here is noise.
  "the same again": [() => rewriteHeaders(plain), "headers alone"],
  "and nothing to rewrite, flags off": [createView(plain), "headers alone"],
  "and nothing to rewrite, --cors-origins": [
    createView({ ...plain, config: { ...DEFAULT_BROWSER, corsOrigins: ["https://app.example.com"] } }),
    "headers alone",
  ],
  "headers alone, of a page": [() => rewriteHeaders(page), ""],
  "and a redirect and a cookie": [createView(page), "headers alone, of a page"],
  "and --origin-header upstream": [
    createView({ ...page, config: { ...DEFAULT_BROWSER, originHeader: "upstream" } }),
    "headers alone, of a page",
  ],
};

/** Microseconds per call. */
function measure(run: () => void): number {
  const startedAt = performance.now();
  for (let round = 0; round < ROUNDS; round++) run();
  return ((performance.now() - startedAt) * 1_000) / ROUNDS;
}

const best = new Map<string, number>();
for (let turn = -WARM_UP_TURNS; turn < TURNS; turn++) {
  for (const [name, [run]] of Object.entries(cases)) {
    const us = measure(run);
    if (turn >= 0) best.set(name, Math.min(us, best.get(name) ?? us));
  }
}
for (const [name, [, base]] of Object.entries(cases)) {
  const us = best.get(name) ?? Number.NaN;
  const baseUs = best.get(base);
  const more = baseUs === undefined ? "" : `  ${(us - baseUs).toFixed(2)} us more, ${(us / baseUs).toFixed(2)} times`;
  console.log(`${name.padEnd(40)}${us.toFixed(2)} us${more}`);
}
