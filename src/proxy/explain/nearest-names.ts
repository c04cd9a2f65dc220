import type { SlicedWork } from "../../sandbox/pacer.ts";
import type { SandboxRecord } from "../../sandbox/provider.ts";

/** Names that are told: more would be a list, and there is one already. */
const NEAREST_MAX = 3;
/** Differences that a typing error makes; of a short name a third of its characters. */
const DISTANCE_MAX = 4;
/** What a name that begins with the id, or the other way round, counts as. */
const PREFIX_DISTANCE = 1.5;
/** A shorter beginning says nothing. */
const PREFIX_MIN_CHARS = 4;

/** The names nearest to an id that does not exist, the nearest first. Looks at every record once, in small steps. */
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

/** Above `most` where it is more: how much more is not found out. */
function distanceOf(a: string, b: string, most: number): number {
  const shorter = Math.min(a.length, b.length);
  if (shorter >= PREFIX_MIN_CHARS && a.slice(0, shorter) === b.slice(0, shorter))
    return Math.min(PREFIX_DISTANCE, most);
  return Math.abs(a.length - b.length) > most ? most + 1 : editDistance(a, b, most);
}

/** Levenshtein's distance, given up as soon as it is above `most`. */
function editDistance(a: string, b: string, most: number): number {
  let previous = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    let least = row;
    for (let column = 1; column <= b.length; column++) {
      const isSame = a.charCodeAt(row - 1) === b.charCodeAt(column - 1);
      const cost = Math.min(
        (previous[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (previous[column - 1] ?? 0) + (isSame ? 0 : 1),
      );
      current.push(cost);
      least = Math.min(least, cost);
    }
    if (least > most) return most + 1;
    previous = current;
  }
  return previous[b.length] ?? 0;
}
