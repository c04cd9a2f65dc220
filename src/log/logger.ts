import { createConsola, type ConsolaReporter } from "consola/core";

import type { Clock } from "../clock.ts";
import { formatJsonLine, formatTextLine, type Line } from "./format-line.ts";
import { LineWriter, type WriteChunk } from "./line-writer.ts";

/** `--log-level`. */
export type LogLevel = "debug" | "info" | "warn" | "error";
/** `--log-format`. */
export type LogFormat = "text" | "json";

/** The fields of a line. They never contain a query string, a header value, a body or a secret. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** The program's log. Never blocks and never throws. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** A logger that drops everything, for tests and silent parts. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** The logger of the whole program. */
export interface ProgramLogger extends Logger {
  /** Writes an info line at any level: for lines with their own setting, such as the access log. */
  always(message: string, fields?: LogFields): void;
  /** Registers a listener that is called before the last lines are written, so that it can add its own. */
  onFlush(listener: () => void): void;
  /** Resolves when all lines so far have been written, or after a second. Await it before the exit. */
  flush(): Promise<void>;
  /** Lines lost since the start because the reader of the log stalled or closed it. */
  droppedLines(): number;
}

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  readonly clock: Clock;
  /** Tests replace it. Default: standard output. */
  readonly write?: WriteChunk;
}

/** Creates the program's logger. Lines go to standard output through a bounded buffer (`LineWriter`). */
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
  const flushListeners: (() => void)[] = [];
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
    // Operators count lines, so consola's merging of equal lines is off.
    throttle: Number.NEGATIVE_INFINITY,
  });
  return {
    debug: (message, fields) => consola.debug(message, fields),
    info: (message, fields) => consola.info(message, fields),
    warn: (message, fields) => consola.warn(message, fields),
    error: (message, fields) => consola.error(message, fields),
    always: (message, fields) => emit({ level: "info", message, fields }),
    onFlush: (listener) => void flushListeners.push(listener),
    flush() {
      for (const listener of flushListeners) listener();
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

/** Standard output. Bun's sink does not block on a full pipe: `write` and `flush` then return promises. */
function createStdoutWrite(): WriteChunk {
  const sink = Bun.stdout.writer();
  return async (chunk) => {
    const written = sink.write(chunk);
    // Both can reject for the same reason, so they are awaited together.
    await Promise.all([written, sink.flush()]);
  };
}
