const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const KIB = 1_024;
const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

/** Shown for unknown values. */
export const UNKNOWN = "–";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

export function formatCount(count: number | undefined): string {
  return count === undefined ? UNKNOWN : whole.format(count);
}

/** A number for each second. */
export function formatRate(rate: number): string {
  return (rate < 100 ? tenths : whole).format(rate);
}

/** A short time in milliseconds, with its unit. */
export function formatDelay(ms: number | undefined): string {
  if (ms === undefined) return UNKNOWN;
  if (ms < 10) return `${tenths.format(ms)} ms`;
  return Math.round(ms) < SECOND_MS ? `${whole.format(ms)} ms` : `${tenths.format(ms / SECOND_MS)} s`;
}

/** A span of time in milliseconds, in its largest unit. */
export function formatSpan(ms: number): string {
  if (ms < MINUTE_MS) return `${Math.max(0, Math.floor(ms / SECOND_MS))} s`;
  if (ms < HOUR_MS) return `${Math.floor(ms / MINUTE_MS)} min`;
  return ms < 2 * DAY_MS ? `${Math.floor(ms / HOUR_MS)} h` : `${Math.floor(ms / DAY_MS)} days`;
}

export function formatBytes(bytes: number | undefined): string {
  if (bytes === undefined) return UNKNOWN;
  const power = Math.min(BYTE_UNITS.length - 1, bytes < KIB ? 0 : Math.floor(Math.log(bytes) / Math.log(KIB)));
  return `${tenths.format(bytes / KIB ** power)} ${BYTE_UNITS[power]}`;
}

/** The start of a text from outside. */
export function shorten(text: string, maxChars: number): string {
  return text.length <= maxChars ? text : `${text.slice(0, maxChars)}…`;
}
