import { describe, expect, test } from "bun:test";
import {
  type Link,
  LINK_MISS_BURST,
  LINK_MISS_LEAK_MS,
  VERIFIED_IDLE_MS,
  VERIFIED_LINKS_MAX,
  VERIFIED_LINKS_PER_SANDBOX_MAX,
  VerifiedLinks,
  type VerifiedLinksOptions,
} from "../../../src/access/verified-links.ts";
import { createFakeClock } from "../../../scripts/lib/stage/fake-clock.ts";
import { createRandom } from "../../../scripts/lib/stage/random.ts";

const LINK: Link = { sandboxUid: "uid-1", sandboxId: "my-sandbox", port: 8080, expiresB36: "zzz", keyId: "a" };
const HOUR_MS = 3_600_000;
const SEED = 12;

function create(options: Partial<VerifiedLinksOptions> = {}) {
  const clock = createFakeClock();
  return { clock, links: new VerifiedLinks({ clock, ...options }) };
}

/** Another link of a sandbox for each number. */
const linkOf = (sandboxUid: string, each: number): Link => ({ ...LINK, sandboxUid, expiresB36: each.toString(36) });

function rememberMany(links: VerifiedLinks, sandboxUid: string, count: number): void {
  for (let each = 0; each < count; each++) links.remember(linkOf(sandboxUid, each));
}

describe("VerifiedLinks", () => {
  test("mayCompare knows only remembered links, and none that differs in any part", () => {
    const { links } = create();
    links.remember(LINK);
    expect(links.mayCompare({ ...LINK })).toBe(true);
    for (const change of [
      { sandboxUid: "uid-2" },
      { sandboxId: "my-sandbox-2" },
      { port: 8081 },
      { expiresB36: "zzy" },
      { keyId: "b" },
    ]) {
      expect(links.mayCompare({ ...LINK, ...change })).toBe(false);
    }
    expect(links.size).toBe(1);
  });

  test("recordMiss makes a link count as new after the burst of wrong signatures, and others not", () => {
    const { clock, links } = create();
    const other = { ...LINK, port: 8081 };
    links.remember(LINK);
    links.remember(other);
    for (let left = LINK_MISS_BURST; left > 0; left--) {
      expect(links.mayCompare(LINK)).toBe(true);
      links.recordMiss(LINK);
    }
    expect(links.mayCompare(LINK)).toBe(false);
    expect(links.mayCompare(other)).toBe(true);
    clock.advance(LINK_MISS_LEAK_MS);
    expect(links.mayCompare(LINK)).toBe(true);
    links.recordMiss({ ...LINK, port: 1 });
    expect(links.size).toBe(2);
  });

  test("remember bounds the links of a sandbox, and keeps those that are used", () => {
    const { clock, links } = create();
    rememberMany(links, "uid-1", VERIFIED_LINKS_PER_SANDBOX_MAX);
    clock.advance(HOUR_MS);
    links.remember(linkOf("uid-1", 0));
    links.remember(linkOf("uid-1", 1_000));
    expect(links.size).toBe(VERIFIED_LINKS_PER_SANDBOX_MAX);
    expect(links.mayCompare(linkOf("uid-1", 0))).toBe(true);
    expect(links.mayCompare(linkOf("uid-1", 1))).toBe(false);
    expect(links.mayCompare(linkOf("uid-1", 1_000))).toBe(true);
  });

  test("remember bounds all links, and sandboxes with many take no place of those with few", () => {
    const { links } = create();
    rememberMany(links, "mine", 3);
    for (let sandbox = 0; sandbox < 300; sandbox++) {
      rememberMany(links, `greedy-${sandbox}`, VERIFIED_LINKS_PER_SANDBOX_MAX + 10);
    }
    expect(links.size).toBe(VERIFIED_LINKS_MAX);
    rememberMany(links, "late", 3);
    expect(links.size).toBe(VERIFIED_LINKS_MAX);
    for (const uid of ["mine", "late"]) {
      for (let each = 0; each < 3; each++) expect(links.mayCompare(linkOf(uid, each))).toBe(true);
    }
  });

  test("a sandbox that was not used for long makes room before those with the most links", () => {
    const { clock, links } = create({ maxLinks: 10 });
    rememberMany(links, "gone", 1);
    clock.advance(VERIFIED_IDLE_MS + 1);
    rememberMany(links, "busy", 9);
    rememberMany(links, "new", 1);
    expect(links.mayCompare(linkOf("gone", 0))).toBe(false);
    expect(links.mayCompare(linkOf("busy", 0))).toBe(true);
    rememberMany(links, "newer", 1);
    expect(links.mayCompare(linkOf("busy", 0))).toBe(false);
    expect(links.size).toBe(10);
  });

  test("forgetKeys drops the links of those keys only", () => {
    const { links } = create();
    links.remember(LINK);
    links.remember({ ...LINK, keyId: "b" });
    links.remember({ ...LINK, sandboxUid: "uid-2" });
    links.forgetKeys((keyId) => keyId === "a");
    expect(links.mayCompare(LINK)).toBe(false);
    expect(links.mayCompare({ ...LINK, keyId: "b" })).toBe(true);
    expect(links.size).toBe(1);
  });

  test(`remember stays within its bounds, and knows at least the link that came last (seed ${SEED})`, () => {
    const { clock, links } = create({ maxLinks: 50, maxLinksPerSandbox: 8 });
    const random = createRandom(SEED);
    for (let round = 0; round < 20_000; round++) {
      clock.advance(random.integer(HOUR_MS));
      const link = linkOf(`uid-${random.integer(20)}`, random.integer(12));
      links.remember(link);
      expect(links.mayCompare(link)).toBe(true);
      expect(links.size).toBeLessThanOrEqual(50);
      if (random.integer(500) === 0) links.forgetKeys(() => true);
    }
    links.forgetKeys(() => true);
    expect(links.size).toBe(0);
  });
});
