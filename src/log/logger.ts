import { createConsola, type ConsolaReporter } from "consola/core";

import type { Clock } from "../clock.ts";
import { formatJsonLine, formatTextLine, type Line } from "./format-line.ts";
import { LineWriter, type WriteChunk } from "./line-writer.ts";

/** `--log-level`. */
export type LogLevel = "debug" | "info" | "warn" | "error";
/** `--log-format`. */
export type LogFormat = "text" | "json";

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

/** The logger of the whole program. */
export interface ProgramLogger extends Logger {
  /** Writes an info line whatever the level: for what has a mode of its own, such as the access log. */
  always(message: string, fields?: LogFields): void;
  /** Called before the last lines are written, so that what was held back is written, too. */
  onFlush(listener: () => void): void;
  /** Resolves when all lines so far have been written, at the latest after a second. To be awaited before the exit. */
  flush(): Promise<void>;
  /** Lines lost since the start because the reader of the log stalled or went. */
  droppedLines(): number;
}

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
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
    // No line is like another to an operator who counts them: consola's merging of equal lines is off.
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

/** Standard output. Bun's sink does not block on a pipe that is full: `write` and `flush` then give promises. */
function createStdoutWrite(): WriteChunk {
  const sink = Bun.stdout.writer();
  return async (chunk) => {
    const written = sink.write(chunk);
    // Both can reject for the same reason, so both are awaited together.
    await Promise.all([written, sink.flush()]);
  };
}
