import { describe, expect, test } from "bun:test";

import { createRandom } from "../../../../scripts/lib/stage/random.ts";
import {
  CLOSED_FOR_MS,
  IDLE_PLACES,
  IdlePlaces,
  PlaceUser,
  SEARCH_INTERVAL_MS,
} from "../../../../src/proxy/upstream/idle-places.ts";

const IDLE_MS = 30_000;
const DIALLED = "10.0.0.1:8080";

function createUsers(count: number): readonly PlaceUser[] {
  return Array.from({ length: count }, () => new PlaceUser());
}

/** Each user in turn, one request a millisecond. Returns the requests of the last round that reused a connection. */
function askInTurn(places: IdlePlaces, users: readonly PlaceUser[], rounds: number): number {
  let reused = 0;
  let nowMs = 0;
  for (let round = 1; round <= rounds; round++) {
    for (const user of users) {
      nowMs++;
      if (round === rounds && user.idle > 0) reused++;
      if (places.claim(user, DIALLED, nowMs)) places.park(user, nowMs);
    }
  }
  return reused;
}

describe("IdlePlaces", () => {
  test("lets every connection in while there are places", () => {
    const places = new IdlePlaces(IDLE_MS);
    const users = createUsers(IDLE_PLACES);
    expect(askInTurn(places, users, 2)).toBe(IDLE_PLACES);
    expect(places.taken).toBe(IDLE_PLACES);
  });

  test.each([65, 100, 200, 1_000])("of %d users in turn, as many reuse connections as there are places", (count) => {
    expect(askInTurn(new IdlePlaces(IDLE_MS), createUsers(count), 4)).toBe(IDLE_PLACES);
  });

  test("a user that comes back soon gets a place, and one that comes for the first time gets none", () => {
    const places = new IdlePlaces(IDLE_MS);
    askInTurn(places, createUsers(IDLE_PLACES), 1);
    const [user = new PlaceUser()] = createUsers(1);
    expect(places.claim(user, DIALLED, 100)).toBe(false);
    expect(places.claim(user, DIALLED, 101)).toBe(true);
    places.park(user, 102);
    expect(places.taken).toBe(IDLE_PLACES);
    expect(user.idle).toBe(1);
  });

  test("busy users keep their places beside a stream of users that come once", () => {
    const places = new IdlePlaces(IDLE_MS);
    const busy = createUsers(IDLE_PLACES - 4);
    let reused = 0;
    let nowMs = 0;
    for (let round = 0; round < 20; round++) {
      for (const user of [...busy, ...createUsers(100)]) {
        nowMs++;
        if (round > 0 && user.idle > 0) reused++;
        if (places.claim(user, DIALLED, nowMs)) places.park(user, nowMs);
      }
    }
    expect(reused).toBe(19 * busy.length);
  });

  test("one user may take all places, and then loses its oldest ones to a user that comes back soon", () => {
    const places = new IdlePlaces(IDLE_MS);
    const [crowd = new PlaceUser(), other = new PlaceUser()] = createUsers(2);
    for (let n = 0; n < 2 * IDLE_PLACES; n++) places.park(crowd, n);
    expect(crowd.idle).toBe(IDLE_PLACES);
    expect(places.claim(other, DIALLED, 1_000)).toBe(false);
    expect(places.claim(other, DIALLED, 1_001)).toBe(true);
    places.park(other, 1_002);
    expect([crowd.idle, other.idle]).toEqual([IDLE_PLACES - 1, 1]);
  });

  test("connections of a burst give way to users that come back, though their user goes on with one of them", () => {
    const places = new IdlePlaces(IDLE_MS);
    const [crowd = new PlaceUser(), ...others] = createUsers(9);
    for (let n = 0; n < IDLE_PLACES; n++) places.park(crowd, 0);
    let reused = 0;
    for (let nowMs = 1_000; nowMs <= 5_000; nowMs += 1_000) {
      for (const user of [...others, crowd]) {
        if (nowMs > 2_000 && user !== crowd && user.idle > 0) reused++;
        expect(places.claim(user, DIALLED, nowMs)).toBe(nowMs > 1_000 || user === crowd);
        if (nowMs > 1_000 || user === crowd) places.park(user, nowMs);
      }
    }
    expect(reused).toBe(3 * others.length);
    expect(crowd.idle).toBe(IDLE_PLACES - others.length);
  });

  test("connections of a burst that were idle for too long are gone, though their user goes on with one of them", () => {
    const places = new IdlePlaces(IDLE_MS);
    const [crowd = new PlaceUser(), other = new PlaceUser()] = createUsers(2);
    for (let n = 0; n < IDLE_PLACES; n++) places.park(crowd, 0);
    for (let nowMs = 1_000; nowMs <= IDLE_MS; nowMs += 1_000) {
      expect(places.claim(crowd, DIALLED, nowMs)).toBe(true);
      places.park(crowd, nowMs);
    }
    expect(places.claim(other, DIALLED, IDLE_MS)).toBe(true);
    expect([crowd.idle, places.taken]).toEqual([1, 1]);
  });

  test("places of connections that were idle for too long are free again", () => {
    const places = new IdlePlaces(IDLE_MS);
    for (const user of createUsers(IDLE_PLACES)) places.park(user, 0);
    expect(places.claim(new PlaceUser(), DIALLED, IDLE_MS - 1)).toBe(false);
    expect(places.claim(new PlaceUser(), DIALLED, IDLE_MS)).toBe(true);
    expect(places.taken).toBe(0);
  });

  test("leaving gives all places of a user back", () => {
    const places = new IdlePlaces(IDLE_MS);
    const [crowd = new PlaceUser(), other = new PlaceUser()] = createUsers(2);
    for (let n = 0; n < IDLE_PLACES; n++) places.park(crowd, n);
    places.leave(crowd);
    places.leave(other);
    expect([places.taken, crowd.idle]).toEqual([0, 0]);
    expect(places.claim(other, DIALLED, 1_000)).toBe(true);
  });

  test("search takes places back from users without an open connection, for a while", async () => {
    const places = new IdlePlaces(IDLE_MS);
    const users = createUsers(IDLE_PLACES);
    const asked: string[] = [];
    const search = (nowMs: number): Promise<void> =>
      places.search((address, port) => {
        asked.push(`${address} ${port}`);
        const open: Readonly<Record<number, ReadonlySet<number> | undefined>> = { 1: new Set(), 2: new Set([7]) };
        return Promise.resolve(open[port]);
      }, nowMs);
    for (const [index, user] of users.entries()) {
      // One in three each: closed, open, not told.
      expect(places.claim(user, `[fd00::1]:${1 + (index % 3)}`, 0)).toBe(true);
      places.park(user, 0);
    }
    await search(1);
    expect(asked).toEqual([]);
    expect(places.claim(new PlaceUser(), DIALLED, 2)).toBe(false);
    await search(3);
    expect(new Set(asked)).toEqual(new Set(["fd00::1 1", "fd00::1 2", "fd00::1 3"]));
    const closed = users.filter((_, index) => index % 3 === 0);
    expect(places.taken).toBe(IDLE_PLACES - closed.length);
    const [first = new PlaceUser()] = closed;
    places.park(first, 2 + CLOSED_FOR_MS);
    expect(first.idle).toBe(0);
    places.park(first, 3 + CLOSED_FOR_MS);
    expect(first.idle).toBe(1);
  });

  test("search looks only after a refusal, and rarely", async () => {
    const places = new IdlePlaces(IDLE_MS);
    let looks = 0;
    const search = (nowMs: number): Promise<void> =>
      places.search(() => {
        looks++;
        return Promise.resolve(undefined);
      }, nowMs);
    for (const user of createUsers(IDLE_PLACES)) places.park(user, 0);
    expect(places.claim(new PlaceUser(), DIALLED, 1)).toBe(false);
    await search(2);
    expect(looks).toBe(IDLE_PLACES);
    expect(places.claim(new PlaceUser(), DIALLED, 3)).toBe(false);
    await search(1 + SEARCH_INTERVAL_MS);
    expect(looks).toBe(IDLE_PLACES);
    await search(2 + SEARCH_INTERVAL_MS);
    expect(looks).toBe(2 * IDLE_PLACES);
    await search(2 + 2 * SEARCH_INTERVAL_MS);
    expect(looks).toBe(2 * IDLE_PLACES);
  });

  test("counts right through random use", () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const random = createRandom(seed);
    const places = new IdlePlaces(IDLE_MS);
    const users = createUsers(150);
    const open: PlaceUser[] = [];
    for (let nowMs = 0; nowMs < 20_000; nowMs++) {
      const user = users[random.integer(users.length)] ?? new PlaceUser();
      const chance = random.integer(100);
      if (chance < 45) {
        if (places.claim(user, DIALLED, nowMs)) open.push(user);
      } else if (chance < 98) {
        const [ended] = open.length === 0 ? [] : open.splice(random.integer(open.length), 1);
        if (ended !== undefined) places.park(ended, nowMs);
      } else {
        places.leave(user);
      }
      const taken = users.reduce((sum, { idle }) => sum + idle, 0);
      const isSorted = users.every(({ since }) => since.every((at, n) => n === 0 || at >= (since[n - 1] ?? 0)));
      const inOrder = users.filter(({ idle }) => idle > 0).toSorted((a, b) => (a.since[0] ?? 0) - (b.since[0] ?? 0));
      const isLinked = inOrder.every(
        ({ newer }, n) => n + 1 === inOrder.length || newer?.since[0] === inOrder[n + 1]?.since[0],
      );
      if (taken !== places.taken || taken > IDLE_PLACES || !isSorted || !isLinked) {
        throw new Error(`wrong at ${nowMs} with seed ${seed}: ${taken} idle, ${places.taken} counted`);
      }
    }
    expect(places.taken).toBeGreaterThan(0);
  });
});
