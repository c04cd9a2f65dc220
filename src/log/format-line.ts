import { printable } from "./printable.ts";

/** Maximum number of characters of a message and of a field's value: a line stays at a few kilobytes. */
const MESSAGE_MAX_CHARS = 4096;
const VALUE_MAX_CHARS = 1024;

/** One line before it is formatted. */
export interface Line {
  /** Wall-clock milliseconds. */
  readonly timeMs: number;
  readonly level: "debug" | "info" | "warn" | "error";
  readonly message: string;
  readonly fields: Readonly<Record<string, string | number | boolean | undefined>> | undefined;
}

/**
 * For people: time, level, message, `key=value`, ended by a line feed. Text from outside cannot end a line, begin
 * another field or control a terminal: values that are not plain words are quoted as in JSON.
 */
export function formatTextLine(line: Line): string {
  let text = `${new Date(line.timeMs).toISOString()} ${LEVEL_TEXTS[line.level]} ${printable(cut(line.message, MESSAGE_MAX_CHARS))}`;
  for (const key in line.fields) {
    const value = line.fields[key];
    if (value === undefined) continue;
    text += ` ${key}=${typeof value === "string" ? formatWord(cut(value, VALUE_MAX_CHARS)) : String(value)}`;
  }
  return `${text}\n`;
}

/** For machines: one JSON object with `time`, `level`, `msg` and the fields, ended by a line feed. */
export function formatJsonLine(line: Line): string {
  const object: Record<string, string | number | boolean> = {
    time: new Date(line.timeMs).toISOString(),
    level: line.level,
    msg: cut(line.message, MESSAGE_MAX_CHARS),
  };
  for (const key in line.fields) {
    const value = line.fields[key];
    if (value === undefined || RESERVED_KEYS.has(key)) continue;
    object[key] = typeof value === "string" ? cut(value, VALUE_MAX_CHARS) : value;
  }
  // JSON leaves some characters unescaped that control a terminal. They can only occur in strings, where \uXXXX means
  // the same.
  return `${printable(JSON.stringify(object))}\n`;
}

const LEVEL_TEXTS = { debug: "DEBUG", info: "INFO ", warn: "WARN ", error: "ERROR" } as const;
const RESERVED_KEYS: ReadonlySet<string> = new Set(["time", "level", "msg"]);
/** A value that is unambiguous without quotes. */
const PLAIN_WORD = /^[\w.:/@%+,~*-]+$/;

function formatWord(value: string): string {
  return PLAIN_WORD.test(value) ? value : printable(JSON.stringify(value));
}

function cut(text: string, maxChars: number): string {
  return text.length <= maxChars ? text : `${text.slice(0, maxChars)}…`;
}
