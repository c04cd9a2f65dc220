import type { Clock } from "../../clock.ts";
import type { IngressErrorCode } from "../../errors.ts";
import type { LogFields } from "../../log/logger.ts";
import type { RouteFormLabel } from "../../route/route.ts";
import { RefusalSums } from "./refusal-sums.ts";

/** `--access-log`. */
export type AccessLogMode = "off" | "errors" | "all";

/** One request, when it is over. Never a path, a query string, a header value or a body. */
export interface AccessEntry {
  readonly method: string;
  readonly form: RouteFormLabel;
  /** As the route names it; undefined: there is no route. */
  readonly sandboxId?: string | undefined;
  readonly port?: number | undefined;
  readonly status: number;
  /** The ingress refused, or could not forward. */
  readonly code?: IngressErrorCode | undefined;
  /** Body bytes from and to the client, where they are known. */
  readonly bytesIn?: number | undefined;
  readonly bytesOut?: number | undefined;
  /** From the request's head to the end of the answer (of the tunnel, for an upgrade). */
  readonly durationMs: number;
  /** Until the sandbox's answer began. */
  readonly upstreamMs?: number | undefined;
  readonly requestId: string;
  readonly clientAddress: string;
  /** Why, for the operator; never shown to a client. */
  readonly cause?: string | undefined;
  /** The request was a WebSocket's, and how that was closed. */
  readonly tunnel?: boolean | undefined;
  readonly closeCode?: number | undefined;
}

/** Where requests are logged, whatever `--log-level` says. Never blocks and never throws. */
export interface AccessLogger {
  /**
   * Whether `log` would write an entry with this outcome, for callers that would have to gather it first. Mode `errors`
   * wants every status from 500 on and every refusal of the ingress itself, but not clients that leave early: they are
   * daily business (499).
   */
  wants(status: number, code: IngressErrorCode | undefined): boolean;
  /**
   * Writes one line, if the mode wants it. Mode `errors` writes the first entry of a code (a status, where there is no code) and
   * a sandbox at once, and those that follow as one line a second, the last of them with their number in the field `repeated`.
   */
  log(entry: AccessEntry): void;
}

/** Whether a request failed for somebody to look at: clients that leave early are daily business (499). */
export function isFailure(status: number, code: IngressErrorCode | undefined): boolean {
  return (status >= 500 || code !== undefined) && code !== "client_closed";
}

/** For tests. */
export const silentAccessLogger: AccessLogger = { wants: () => false, log() {} };

/** What the access log needs of the program's logger. */
export interface AccessLogSink {
  always(message: string, fields?: LogFields): void;
  onFlush(listener: () => void): void;
}

/** @param logger Where the lines go. */
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

/** Microseconds are the last digits that mean something. */
function roundMs(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
