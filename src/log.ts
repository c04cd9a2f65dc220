/** `--log-level`. */
export type LogLevel = "debug" | "info" | "warn" | "error";

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
