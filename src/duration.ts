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
