import type { Clock } from "../../clock.ts";
import type { IngressErrorCode } from "../../errors.ts";
import type { LogFields } from "../../log/logger.ts";
import type { RouteFormLabel } from "../../route/route.ts";
import { RefusalSums } from "./refusal-sums.ts";

/** `--access-log`. */
export type AccessLogMode = "off" | "errors" | "all";

/** One request that is over. It never holds a path, a query string, a header value or a body. */
export interface AccessEntry {
  readonly method: string;
  readonly form: RouteFormLabel;
  /** As the route names it; undefined: the request has no route. */
  readonly sandboxId?: string | undefined;
  readonly port?: number | undefined;
  readonly status: number;
  /** Why the ingress refused or could not forward; undefined: neither happened. */
  readonly code?: IngressErrorCode | undefined;
  /** Body bytes from and to the client; undefined: unknown. */
  readonly bytesIn?: number | undefined;
  readonly bytesOut?: number | undefined;
  /** From the request's head to the end of the answer (of the tunnel, for an upgrade). */
  readonly durationMs: number;
  /** Time until the sandbox's answer began. */
  readonly upstreamMs?: number | undefined;
  readonly requestId: string;
  readonly clientAddress: string;
  /** The cause, for the operator. A client never sees it. */
  readonly cause?: string | undefined;
  /** Whether the request was for a WebSocket, and the close code. */
  readonly tunnel?: boolean | undefined;
  readonly closeCode?: number | undefined;
}

/** Logs requests, whatever `--log-level` says. Never blocks and never throws. */
export interface AccessLogger {
  /**
   * Whether `log` would write an entry with this outcome. Callers ask before they collect an entry. Mode `errors` logs
   * every status of 500 or more and every refusal by the ingress, but not clients that leave early (499), which is
   * normal.
   */
  wants(status: number, code: IngressErrorCode | undefined): boolean;
  /**
   * Writes one line, if the mode wants it. Mode `errors` writes the first entry of each pair of code (or status, if
   * there is no code) and sandbox at once. Later equal entries become one line per second: the last of them, with their
   * number in the field `repeated`.
   */
  log(entry: AccessEntry): void;
}

/** Whether a request failed in a way that an operator should see. Clients that leave early (499) are normal. */
export function isFailure(status: number, code: IngressErrorCode | undefined): boolean {
  return (status >= 500 || code !== undefined) && code !== "client_closed";
}

/** For tests. */
export const silentAccessLogger: AccessLogger = { wants: () => false, log() {} };

/** What the access log needs from the program's logger. */
export interface AccessLogSink {
  always(message: string, fields?: LogFields): void;
  onFlush(listener: () => void): void;
}

/** @param logger Receives the lines. */
export function createAccessLog(
  mode: AccessLogMode,
  { logger, clock }: { readonly logger: AccessLogSink; readonly clock: Clock },
): AccessLogger {
  if (mode === "off") return silentAccessLogger;
  const writeEntry = (fields: LogFields): void => logger.always("request", fields);
  const sums = new RefusalSums<AccessEntry>({
    clock,
    write: (entry, times) => writeEntry({ ...toFields(entry), ...(times === 1 ? {} : { repeated: times }) }),
    writeOthers: ({ status, code }, times) =>
      logger.always("requests of further sandboxes", { status, code, repeated: times }),
  });
  logger.onFlush(() => sums.flush());
  const wants = (status: number, code: IngressErrorCode | undefined) => mode === "all" || isFailure(status, code);
  return {
    wants,
    log(entry) {
      if (!wants(entry.status, entry.code)) return;
      if (mode === "errors") sums.add(entry);
      else writeEntry(toFields(entry));
    },
  };
}

function toFields(entry: AccessEntry): LogFields {
  return {
    method: entry.method,
    form: entry.form,
    sandbox: entry.sandboxId,
    port: entry.port,
    status: entry.status,
    code: entry.code,
    tunnel: entry.tunnel,
    closeCode: entry.closeCode,
    bytesIn: entry.bytesIn,
    bytesOut: entry.bytesOut,
    durationMs: roundMs(entry.durationMs),
    upstreamMs: entry.upstreamMs === undefined ? undefined : roundMs(entry.upstreamMs),
    requestId: entry.requestId,
    client: entry.clientAddress,
    cause: entry.cause,
  };
}

/** Finer digits than microseconds mean nothing. */
function roundMs(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
