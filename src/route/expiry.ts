/** The last second that `Date` can tell (ECMA-262 §21.4.1.1: 8.64e15 ms). */
const DATE_MAX_SECONDS = 8_640_000_000_000n;

/** A uint64 epoch second as RFC 3339, or as its number where no calendar reaches that far. */
export function formatEpochSeconds(seconds: bigint): string {
  if (seconds > DATE_MAX_SECONDS) return `epoch second ${seconds}`;
  return new Date(Number(seconds) * 1000).toISOString().replace(".000Z", "Z");
}

/** The number that lower-case base 36 says, whatever its size. */
export function parseBase36(text: string): bigint {
  let value = 0n;
  for (const digit of text) value = value * 36n + BigInt(Number.parseInt(digit, 36));
  return value;
}
