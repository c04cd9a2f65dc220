import type { Clock } from "../clock.ts";

/** Maximum number of links remembered in all: 12 MB of heap, or 38 MB if each is of a different sandbox. */
export const VERIFIED_LINKS_MAX = 65_536;

/**
 * Maximum number of links remembered for one sandbox: more ports and expiries than one reader has open. The one that
 * was used longest ago makes room.
 */
export const VERIFIED_LINKS_PER_SANDBOX_MAX = 256;

/**
 * Milliseconds without use after which a sandbox's links may make room for others: sandboxes come and go, and each
 * deleted one would otherwise keep its place for ever.
 */
export const VERIFIED_IDLE_MS = 24 * 60 * 60 * 1_000;

/** Milliseconds between two updates of a link's last use: a link in constant use costs one look-up. */
const TOUCH_MS = 60_000;

/**
 * Wrong signatures that are compared with one known link while its sandbox or client is throttled: the burst, and the
 * milliseconds until one more is allowed. An attacker who knows the id, port, exact expiry and key id of a link in use
 * can guess its signature at this rate, beside the budgets: half of 2^32 takes 68 years. Above this rate the link
 * counts as unknown.
 */
export const LINK_MISS_BURST = 100;
export const LINK_MISS_LEAK_MS = 1_000;

/** What a signature covers, and the key that made it. */
export interface Link {
  /** The sandbox's `metadata.uid`. */
  readonly sandboxUid: string;
  readonly sandboxId: string;
  readonly port: number;
  readonly expiresB36: string;
  readonly keyId: string;
}

export interface VerifiedLinksOptions {
  /** Only its monotonic time is used. */
  readonly clock: Clock;
  /** Default: `VERIFIED_LINKS_MAX`. At least 1. */
  readonly maxLinks?: number;
  /** Default: `VERIFIED_LINKS_PER_SANDBOX_MAX`. At least 1. */
  readonly maxLinksPerSandbox?: number;
}

interface Known {
  readonly keyId: string;
  usedAtMs: number;
  /** Monotonic time at which its misses have leaked away. */
  missesGoneAtMs: number;
}

/** The links of one sandbox, the least recently used first. */
interface SandboxLinks {
  readonly uid: string;
  readonly links: Map<string, Known>;
  usedAtMs: number;
}

/**
 * Remembers which links have verified, so that their readers pass while others guess. It only says which signatures may
 * be compared. Each is still verified, so an entry here is not a credential.
 *
 * When there is no room, a sandbox that was not used for `VERIFIED_IDLE_MS` loses a link; else one of the sandboxes
 * with the most links does. So a sandbox with many links cannot displace one with few. Synchronous; never throws.
 */
export class VerifiedLinks {
  readonly #clock: Clock;
  readonly #maxLinks: number;
  readonly #maxPerSandbox: number;
  /** By uid, the least recently used first. */
  readonly #sandboxes = new Map<string, SandboxLinks>();
  /** The same, by their number of links: at most `maxLinksPerSandbox` sizes. */
  readonly #bySize = new Map<number, Set<SandboxLinks>>();
  #size = 0;

  constructor(options: VerifiedLinksOptions) {
    this.#clock = options.clock;
    this.#maxLinks = options.maxLinks ?? VERIFIED_LINKS_MAX;
    this.#maxPerSandbox = options.maxLinksPerSandbox ?? VERIFIED_LINKS_PER_SANDBOX_MAX;
  }

  /** Links remembered: at most `maxLinks`. */
  get size(): number {
    return this.#size;
  }

  /** Remembers a link whose signature has verified. */
  remember(link: Link): void {
    const nowMs = this.#clock.monotonic();
    const key = keyOf(link);
    const sandbox = this.#sandboxes.get(link.sandboxUid);
    const known = sandbox?.links.get(key);
    if (sandbox === undefined || known === undefined) return this.#add(link, key, nowMs);
    if (nowMs - known.usedAtMs < TOUCH_MS) return;
    known.usedAtMs = nowMs;
    sandbox.links.delete(key);
    sandbox.links.set(key, known);
    this.#touch(sandbox, nowMs);
  }

  /** Whether a signature of this link may be compared although the sandbox or the client is throttled. */
  mayCompare(link: Link): boolean {
    const known = this.#find(link);
    if (known === undefined) return false;
    return known.missesGoneAtMs - this.#clock.monotonic() <= (LINK_MISS_BURST - 1) * LINK_MISS_LEAK_MS;
  }

  /** Counts a wrong signature that `mayCompare` allowed to be compared. */
  recordMiss(link: Link): void {
    const known = this.#find(link);
    if (known === undefined) return;
    const nowMs = this.#clock.monotonic();
    known.missesGoneAtMs = Math.max(known.missesGoneAtMs, nowMs) + LINK_MISS_LEAK_MS;
  }

  /** Forgets all links whose key `isGone` names. Inspects each link. */
  forgetKeys(isGone: (keyId: string) => boolean): void {
    for (const sandbox of this.#sandboxes.values()) {
      for (const [key, { keyId }] of sandbox.links) if (isGone(keyId)) this.#remove(sandbox, key);
    }
  }

  #find(link: Link): Known | undefined {
    return this.#sandboxes.get(link.sandboxUid)?.links.get(keyOf(link));
  }

  #add(link: Link, key: string, nowMs: number): void {
    const full = this.#sandboxes.get(link.sandboxUid);
    if (full !== undefined && full.links.size >= this.#maxPerSandbox) this.#removeOldest(full);
    else if (this.#size >= this.#maxLinks) this.#makeRoom(nowMs);
    const sandbox = this.#sandboxes.get(link.sandboxUid) ?? {
      uid: link.sandboxUid,
      links: new Map<string, Known>(),
      usedAtMs: nowMs,
    };
    this.#resize(sandbox, () =>
      sandbox.links.set(key, { keyId: link.keyId, usedAtMs: nowMs, missesGoneAtMs: Number.NEGATIVE_INFINITY }),
    );
    this.#touch(sandbox, nowMs);
  }

  #touch(sandbox: SandboxLinks, nowMs: number): void {
    sandbox.usedAtMs = nowMs;
    this.#sandboxes.delete(sandbox.uid);
    this.#sandboxes.set(sandbox.uid, sandbox);
  }

  #makeRoom(nowMs: number): void {
    const [oldest] = this.#sandboxes.values();
    if (oldest !== undefined && nowMs - oldest.usedAtMs > VERIFIED_IDLE_MS) return this.#removeOldest(oldest);
    const [largest] = this.#bySize.get(Math.max(...this.#bySize.keys())) ?? [];
    if (largest !== undefined) this.#removeOldest(largest);
  }

  #removeOldest(sandbox: SandboxLinks): void {
    const [oldest] = sandbox.links.keys();
    if (oldest !== undefined) this.#remove(sandbox, oldest);
  }

  #remove(sandbox: SandboxLinks, key: string): void {
    this.#resize(sandbox, () => sandbox.links.delete(key));
    if (sandbox.links.size === 0) this.#sandboxes.delete(sandbox.uid);
  }

  /** Changes the number of a sandbox's links and keeps the counts correct. */
  #resize(sandbox: SandboxLinks, change: () => void): void {
    const { links } = sandbox;
    const before = links.size;
    change();
    this.#size += links.size - before;
    const peers = this.#bySize.get(before);
    peers?.delete(sandbox);
    if (peers?.size === 0) this.#bySize.delete(before);
    if (links.size === 0) return;
    const now = this.#bySize.get(links.size);
    if (now === undefined) this.#bySize.set(links.size, new Set([sandbox]));
    else now.add(sandbox);
  }
}

function keyOf(link: Link): string {
  return `${link.keyId}\n${link.port}\n${link.expiresB36}\n${link.sandboxId}`;
}
