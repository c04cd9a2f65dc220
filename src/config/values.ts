export { DURATION_MAX_MS, parseDurationMs } from "../duration.ts";

/**
 * Converts the texts of flags to values. Each function throws an Error whose message says what is expected and never
 * repeats the text. A caller can put the flag's name before it, and no secret follows.
 */

/**
 * Lower-case unit → bytes. `Ki` and similar units are Kubernetes' spelling. Its bare `k` and `M` are not accepted,
 * because `m` means milli there.
 */
const SIZE_UNITS: ReadonlyMap<string, number> = new Map([
  ["", 1],
  ["b", 1],
  ["kb", 1e3],
  ["mb", 1e6],
  ["gb", 1e9],
  ["tb", 1e12],
  ["ki", 2 ** 10],
  ["kib", 2 ** 10],
  ["mi", 2 ** 20],
  ["mib", 2 ** 20],
  ["gi", 2 ** 30],
  ["gib", 2 ** 30],
  ["ti", 2 ** 40],
  ["tib", 2 ** 40],
]);

/**
 * Parses a size to bytes: a whole number and a unit, `65536`, `64KiB`, `64Mi` (powers of 1024), `10MB` (powers of
 * 1000). Case does not matter. Throws above `Number.MAX_SAFE_INTEGER`.
 */
export function parseSizeBytes(text: string): number {
  const match = /^(\d+)([a-z]*)$/i.exec(text);
  const unit = SIZE_UNITS.get(match?.[2]?.toLowerCase() ?? "");
  if (match === null || unit === undefined) throw new Error("expected a size such as 65536, 64KiB, 64MiB or 10MB");
  const bytes = Number(match[1]) * unit;
  if (!Number.isSafeInteger(bytes)) throw new Error("is too large");
  return bytes;
}

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
