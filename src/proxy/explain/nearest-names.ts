import type { SlicedWork } from "../../sandbox/pacer.ts";
import type { SandboxRecord } from "../../sandbox/provider.ts";

/** How many names are shown. For more there is the list of sandboxes. */
const NEAREST_MAX = 3;
/** The most differences that count as a typing error. For a short name it is a third of its characters. */
const DISTANCE_MAX = 4;
/** The distance of a name that begins with the id, or the other way round. */
const PREFIX_DISTANCE = 1.5;
/** A shorter common beginning says nothing. */
const PREFIX_MIN_CHARS = 4;

/**
 * Finds the names most similar to an id that does not exist, the best first. Reads every record once, in small steps.
 */
export function* findNearestNames(id: string, records: Iterable<SandboxRecord>): SlicedWork<readonly string[]> {
  const wanted = id.toLowerCase();
  const most = Math.min(DISTANCE_MAX, Math.ceil(wanted.length / 3));
  let nearest: { readonly name: string; readonly distance: number }[] = [];
  for (const { name } of records) {
    yield;
    const distance = distanceOf(wanted, name, most);
    if (distance > most || nearest.some((other) => other.name === name)) continue;
    nearest.push({ name, distance });
    nearest = nearest.toSorted((a, b) => a.distance - b.distance || (a.name < b.name ? -1 : 1)).slice(0, NEAREST_MAX);
  }
  return nearest.map(({ name }) => name);
}

/** The distance of two names. If it is above `most`, the exact value is not computed. */
function distanceOf(a: string, b: string, most: number): number {
  const shorter = Math.min(a.length, b.length);
  if (shorter >= PREFIX_MIN_CHARS && a.slice(0, shorter) === b.slice(0, shorter))
    return Math.min(PREFIX_DISTANCE, most);
  return Math.abs(a.length - b.length) > most ? most + 1 : editDistance(a, b, most);
}

/** Levenshtein's distance. Stops as soon as it is above `most`, and computes only cells that can be within it. */
function editDistance(a: string, b: string, most: number): number {
  const over = most + 1;
  // One row, overwritten in place. The old values are the row above.
  const row = new Uint16Array(b.length + 1);
  for (let column = 0; column <= b.length; column++) row[column] = column;
  for (let at = 1; at <= a.length; at++) {
    const from = Math.max(1, at - most);
    const to = Math.min(b.length, at + most);
    let diagonal = row[from - 1] ?? over;
    row[from - 1] = from === 1 ? at : over;
    let least = row[from - 1] ?? over;
    for (let column = from; column <= to; column++) {
      const above = column === at + most ? over : (row[column] ?? over);
      const change = a.charCodeAt(at - 1) === b.charCodeAt(column - 1) ? 0 : 1;
      const cost = Math.min(above + 1, (row[column - 1] ?? over) + 1, diagonal + change);
      diagonal = row[column] ?? over;
      row[column] = cost;
      if (cost < least) least = cost;
    }
    if (least > most) return over;
  }
  return row[b.length] ?? over;
}
