import type { Logger, LogLevel } from "../../../src/log/logger.ts";

/** A logger that keeps its lines. */
export interface RecordingLogger extends Logger {
  readonly lines: readonly { readonly level: LogLevel; readonly message: string }[];
  /** The lines of a level that match. */
  find(level: LogLevel, pattern: RegExp): readonly string[];
}

export function createRecordingLogger(): RecordingLogger {
  const lines: { level: LogLevel; message: string }[] = [];
  const at = (level: LogLevel) => (message: string) => void lines.push({ level, message });
  return {
    lines,
    find: (level, pattern) =>
      lines.filter((line) => line.level === level && pattern.test(line.message)).map((line) => line.message),
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
  };
}
