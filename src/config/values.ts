export { DURATION_MAX_MS, parseDurationMs } from "../duration.ts";
export { parseSizeBytes } from "../quantity.ts";

/**
 * Converts the texts of flags to values. Each function throws an Error whose message says what is expected and never
 * repeats the text. A caller can put the flag's name before it, and no secret follows.
 */

/** Parses a whole decimal number. Go's flag package also accepts `0x10` and, as octal, `010`. Here both are faults. */
export function parseInteger(text: string): number {
  if (/^[+-]?0\d/.test(text)) throw new Error("expected a decimal number without leading zeros");
  if (!/^[+-]?\d+$/.test(text)) throw new Error("expected a whole decimal number");
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new Error("is out of range");
  return value + 0; // -0 becomes 0
}

/** Go's `strconv.ParseBool`. */
export function parseBoolean(text: string): boolean {
  switch (text) {
    case "1":
    case "t":
    case "T":
    case "true":
    case "TRUE":
    case "True":
      return true;
    case "0":
    case "f":
    case "F":
    case "false":
    case "FALSE":
    case "False":
      return false;
    default:
      throw new Error("expected true or false");
  }
}

/** Milliseconds as a Go duration, for messages: `5s`, `1m30s`, `300ms`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return "0";
  if (ms % 1000 !== 0) return `${ms}ms`;
  const seconds = ms / 1000;
  const parts = [
    [Math.floor(seconds / 3600), "h"],
    [Math.floor(seconds / 60) % 60, "m"],
    [seconds % 60, "s"],
  ] as const;
  return parts.map(([count, unit]) => (count === 0 ? "" : `${count}${unit}`)).join("");
}

/** Bytes in the largest binary unit that divides them, for messages: `64KiB`. */
export function formatSize(bytes: number): string {
  for (const [unit, size] of [
    ["GiB", 2 ** 30],
    ["MiB", 2 ** 20],
    ["KiB", 2 ** 10],
  ] as const) {
    if (bytes >= size && bytes % size === 0) return `${bytes / size}${unit}`;
  }
  return String(bytes);
}
