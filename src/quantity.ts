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

/** A rate of requests, as a leaky bucket: at most `burst` at once, and then one each `leakMs`. */
export interface Rate {
  /** At least 1. */
  readonly burst: number;
  /** Milliseconds; a fraction for more than 1,000 a second. */
  readonly leakMs: number;
}

/** Greatest number of a rate: more requests than one process can serve in an hour would be, and still exact. */
const RATE_MAX = 1_000_000;
const RATE = /^([1-9]\d{0,6})\/([smh])$/;
const RATE_UNITS_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };

/** Parses `100/s`, `100/m` or `100/h`: 1 to 1,000,000 requests a second, minute or hour, and as many at once. Throws. */
export function parseRate(text: string): Rate {
  const [, digits = "", unit = ""] = RATE.exec(text) ?? [];
  const burst = Number(digits);
  const unitMs = RATE_UNITS_MS[unit];
  if (unitMs === undefined || burst > RATE_MAX) {
    throw new Error(`expected a rate of 1 to ${RATE_MAX} such as 100/s, 100/m or 100/h`);
  }
  return { burst, leakMs: unitMs / burst };
}

/** The rate that exceeds neither; undefined: there is no limit. */
export function lowerRate(a: Rate | undefined, b: Rate | undefined): Rate | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return { burst: Math.min(a.burst, b.burst), leakMs: Math.max(a.leakMs, b.leakMs) };
}
