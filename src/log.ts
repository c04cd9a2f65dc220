import { createConsola, type ConsolaReporter } from "consola/core";

import type { Clock } from "./clock.ts";
import type { IngressErrorCode } from "./errors.ts";
import { formatJsonLine, formatTextLine, type Line } from "./log/format-line.ts";
import { LineWriter, type WriteChunk } from "./log/line-writer.ts";
import { RefusalSums } from "./log/refusal-sums.ts";
import type { RouteFormLabel } from "./metrics.ts";

/** `--log-level`. */
export type LogLevel = "debug" | "info" | "warn" | "error";
/** `--log-format`. */
export type LogFormat = "text" | "json";
/** `--access-log`. */
export type AccessLogMode = "off" | "errors" | "all";

/** What a line carries beside its message. Never a query string, a header value, a body or a secret. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** Where the program says what happens. Never blocks and never throws. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** A logger for tests and for parts that have nothing to say. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

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

/** For tests. */
export const silentAccessLogger: AccessLogger = { wants: () => false, log() {} };

/** The logger of the whole program. */
export interface ProgramLogger extends Logger {
  readonly accessLog: AccessLogger;
  /** Resolves when all lines so far have been written, at the latest after a second. To be awaited before the exit. */
  flush(): Promise<void>;
  /** Lines lost since the start because the reader of the log stalled or went. */
  droppedLines(): number;
}

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  readonly accessLog: AccessLogMode;
  readonly clock: Clock;
  /** A seam; default: standard output. */
  readonly write?: WriteChunk;
}

/** Creates the program's logger. Lines go to standard output, through a bounded buffer (see LineWriter). */
export function createLogger(options: LoggerOptions): ProgramLogger {
  const { level, clock } = options;
  const format = options.format === "json" ? formatJsonLine : formatTextLine;
  const writer = new LineWriter({
    write: options.write ?? createStdoutWrite(),
    clock,
    formatDropped: (count) =>
      format({ timeMs: clock.now(), level: "warn", message: "log lines were dropped", fields: { lines: count } }),
  });
  const emit = (line: Omit<Line, "timeMs">) => writer.push(format({ timeMs: clock.now(), ...line }));
  const emitRequest = (fields: LogFields) => emit({ level: "info", message: "request", fields });
  const sums = new RefusalSums<AccessEntry>({
    clock,
    write: (entry, times) => emitRequest({ ...toFields(entry), ...(times === 1 ? {} : { repeated: times }) }),
    writeOthers: ({ status, code }, times) =>
      emit({ level: "info", message: "requests of further sandboxes", fields: { status, code, repeated: times } }),
  });
  const reporter: ConsolaReporter = {
    log(object) {
      // Only the functions below call consola, so a line's arguments are a message and perhaps fields.
      const args: readonly unknown[] = object.args;
      const [message, fields] = args;
      const level = isLogLevel(object.type) ? object.type : "info";
      emit({ level, message: String(message), fields: isFields(fields) ? fields : undefined });
    },
  };
  const consola = createConsola({
    level: CONSOLA_LEVELS[level],
    reporters: [reporter],
    // No line is like another to an operator who counts them: consola's merging of equal lines is off.
    throttle: Number.NEGATIVE_INFINITY,
  });
  return {
    debug: (message, fields) => consola.debug(message, fields),
    info: (message, fields) => consola.info(message, fields),
    warn: (message, fields) => consola.warn(message, fields),
    error: (message, fields) => consola.error(message, fields),
    accessLog: createAccessLogger(options.accessLog, (entry) =>
      options.accessLog === "errors" ? sums.add(entry) : emitRequest(toFields(entry)),
    ),
    flush() {
      sums.flush();
      return writer.flush();
    },
    droppedLines: () => writer.dropped,
  };
}

const CONSOLA_LEVELS = { error: 0, warn: 1, info: 3, debug: 4 } as const;

function isLogLevel(type: string): type is LogLevel {
  return Object.hasOwn(CONSOLA_LEVELS, type);
}

function isFields(value: unknown): value is LogFields {
  return typeof value === "object" && value !== null;
}

function createAccessLogger(mode: AccessLogMode, write: (entry: AccessEntry) => void): AccessLogger {
  if (mode === "off") return silentAccessLogger;
  const wants = (status: number, code: IngressErrorCode | undefined) =>
    mode === "all" || ((status >= 500 || code !== undefined) && code !== "client_closed");
  return {
    wants,
    log(entry) {
      if (wants(entry.status, entry.code)) write(entry);
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

/** Standard output. Bun's sink does not block on a pipe that is full: `write` and `flush` then give promises. */
function createStdoutWrite(): WriteChunk {
  const sink = Bun.stdout.writer();
  return async (chunk) => {
    const written = sink.write(chunk);
    // Both can reject for the same reason, so both are awaited together.
    await Promise.all([written, sink.flush()]);
  };
}
