/**
 * Converts the texts of flags to values. Each function throws an Error whose message says what is expected and never
 * repeats the text. A caller can put the flag's name before it, and no secret follows.
 */

/** The longest delay of `setTimeout` (2^31 − 1 ms, 24.8 days). A longer one would fire at once. */
export const DURATION_MAX_MS = 2_147_483_647;

const NANOSECONDS_PER_MS = 1_000_000n;
const MS_PER_HOUR = 3_600_000;

/** The units of Go's `time.ParseDuration`, in nanoseconds. Both spellings of micro (U+00B5, U+03BC) are Go's. */
const DURATION_UNITS: ReadonlyMap<string, bigint> = new Map([
  ["ns", 1n],
  ["us", 1_000n],
  ["µs", 1_000n],
  ["μs", 1_000n],
  ["ms", 1_000_000n],
  ["s", 1_000_000_000n],
  ["m", 60_000_000_000n],
  ["h", 3_600_000_000_000n],
]);

/** Maximum number of digits before and after the point. More would overflow Go's int64 of nanoseconds, too. */
const DURATION_DIGITS_MAX = 19;
const DURATION_EXPECTED = "expected a duration such as 30s, 1m30s or 300ms";

/**
 * Parses a Go duration (`time.ParseDuration`: `1h2m3.5s`, `300ms`, `0`, `+5s`) to whole milliseconds. Fractions of a
 * millisecond are rounded up, so a value above zero never becomes zero. Throws for negative values and above `maxMs`,
 * by default DURATION_MAX_MS, because most durations become timers.
 */
export function parseDurationMs(text: string, { maxMs = DURATION_MAX_MS }: { readonly maxMs?: number } = {}): number {
  if (text.startsWith("-")) throw new Error("must not be negative");
  const unsigned = text.startsWith("+") ? text.slice(1) : text;
  if (unsigned === "0") return 0;
  if (/^\d+(\.\d*)?$/.test(unsigned)) throw new Error(`${DURATION_EXPECTED}: the unit is missing`);
  let totalNs = 0n;
  let rest = unsigned;
  do {
    const part = /^(\d*)(?:\.(\d*))?([a-zµμ]+)/.exec(rest);
    if (part === null) throw new Error(DURATION_EXPECTED);
    const [whole, integer = "", fraction = "", unitName = ""] = part;
    const unitNs = DURATION_UNITS.get(unitName);
    if (unitNs === undefined) throw new Error(`${DURATION_EXPECTED}: the unit must be ns, us, ms, s, m or h`);
    if (integer === "" && fraction === "") throw new Error(DURATION_EXPECTED);
    if (integer.replace(/^0+/, "").length > DURATION_DIGITS_MAX) throw new Error("is too long");
    const digits = fraction.slice(0, DURATION_DIGITS_MAX);
    totalNs += BigInt(integer === "" ? "0" : integer) * unitNs;
    // Go truncates a fraction to whole nanoseconds.
    totalNs += (BigInt(digits === "" ? "0" : digits) * unitNs) / 10n ** BigInt(digits.length);
    rest = rest.slice(whole.length);
  } while (rest !== "");
  const ms = Number((totalNs + NANOSECONDS_PER_MS - 1n) / NANOSECONDS_PER_MS);
  if (ms > maxMs) throw new Error(`is too long: at most ${Math.floor(maxMs / MS_PER_HOUR)}h`);
  return ms;
}

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
