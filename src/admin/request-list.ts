import type { Clock } from "../clock.ts";
import type { Exchange } from "../proxy/exchange/exchange.ts";
import type { ExchangeState } from "../proxy/exchange/exchange-subject.ts";
import type { Failure } from "../proxy/report/failure-list.ts";
import { formatTime, readCount } from "./parameters.ts";
import { TopOf } from "./top-of.ts";

/** How many open requests are shown: the default and the maximum. */
const REQUEST_ROWS = 100;
const REQUEST_ROWS_MAX = 500;

/** The longest method that is shown. The client chose it, so it can be any text. */
const METHOD_MAX_CHARS = 32;

/**
 * The longest id of a failed request that is shown. The client chose it too; a name in Kubernetes has at most 253
 * characters.
 */
const ID_MAX_CHARS = 256;

/** An open request or WebSocket, without its path, query and headers. */
export interface RequestRow {
  readonly requestId: string;
  readonly sandboxId: string;
  readonly uid: string;
  readonly port: number;
  readonly form: string;
  readonly method: string;
  readonly tunnel?: true | undefined;
  readonly state: ExchangeState;
  /** Milliseconds since the request came in, and since the last byte in either direction. */
  readonly ageMs: number;
  readonly idleMs: number;
  /** Body bytes from and to the client. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Bytes in the memory account, and how many of them wait for a slow reader. */
  readonly heldBytes: number;
  readonly stalledBytes: number;
  readonly client: string;
}

/** Lists the oldest open requests. Reads each request once; `--max-requests` limits their number. */
export function listRequests(
  url: URL,
  exchanges: Iterable<Exchange>,
  clock: Clock,
): { readonly requests: readonly RequestRow[]; readonly open: number } {
  const limit = readCount(url, "limit", { fallback: REQUEST_ROWS, max: REQUEST_ROWS_MAX });
  const sandbox = url.searchParams.get("sandbox") ?? "";
  const oldest = new TopOf<Exchange>(limit, (a, b) => a.subject.startedAt - b.subject.startedAt);
  let open = 0;
  for (const exchange of exchanges) {
    if (sandbox !== "" && exchange.subject.route.sandboxId !== sandbox) continue;
    open += 1;
    oldest.add(exchange);
  }
  const now = clock.monotonic();
  return { requests: oldest.sorted().map((exchange) => toRow(exchange, now)), open };
}

function toRow(exchange: Exchange, now: number): RequestRow {
  const { subject, upstream } = exchange;
  const { request, route } = subject;
  return {
    requestId: subject.requestId,
    sandboxId: route.sandboxId,
    uid: upstream.uid,
    port: route.port,
    form: route.form,
    method: request.method.slice(0, METHOD_MAX_CHARS),
    tunnel: subject.isUpgrade ? true : undefined,
    state: exchange.state,
    ageMs: Math.round(now - subject.startedAt),
    idleMs: Math.round(now - exchange.activeAt),
    bytesIn: exchange.bytesIn,
    bytesOut: exchange.bytesOut,
    heldBytes: exchange.accountedBytes + exchange.endingBytes,
    stalledBytes: exchange.stalledBytes,
    client: subject.clientAddress,
  };
}

/** The answer of `/debug/failures`. */
export type FailurePage = ReturnType<typeof listFailures>;

/** The answer of `/debug/requests`. */
export type RequestPage = ReturnType<typeof listRequests>;

/** Lists the last failures, newest first, as in the access log and with their times. */
export function listFailures(failures: readonly Failure[]) {
  return {
    failures: failures.map(({ timeMs, method, sandboxId, ...rest }) => ({
      time: formatTime(timeMs),
      method: method.slice(0, METHOD_MAX_CHARS),
      sandboxId: sandboxId?.slice(0, ID_MAX_CHARS),
      ...rest,
    })),
  };
}
