import type { End } from "./close-codes.ts";
import { Pulse, type PulseVerdict } from "./pulse.ts";
import { TokenBucket } from "./token-bucket.ts";

/**
 * Pings and pongs per second that each side of a tunnel may send in the long run. Real programs send one in many
 * seconds.
 */
const CONTROL_FRAMES_PER_SECOND = 50;

/** The same at once. At one per second, a side that was not read for a quarter of an hour has sent this many. */
const CONTROL_FRAMES_BURST = 1_000;

/**
 * Pings that a tunnel remembers until the other side answers them. Answers to older ones are passed on, which RFC 6455
 * §5.5.3 allows.
 */
const UNANSWERED_PINGS_MAX = 16;

/** A ping or pong that one of them has sent. */
export interface ControlFrame {
  readonly kind: "ping" | "pong";
  readonly data: Buffer;
}

/** What a tunnel knows about one of its ends: whether it is there, how many pings it sends, and which pongs it owes. */
class Peer {
  readonly #pulse: Pulse;
  /** Made with the first ping or pong. Most tunnels see none. */
  #control: TokenBucket | undefined;
  #owedPongs: string[] | undefined;

  constructor(nowMs: number) {
    this.#pulse = new Pulse(nowMs);
  }

  /** The peer has sent something, or could not because it is not read. */
  beat(): void {
    this.#pulse.beat();
  }

  /** Checks whether the peer is there. */
  check(nowMs: number, intervalMs: number): PulseVerdict {
    return this.#pulse.check(nowMs, intervalMs);
  }

  /** Counts a ping or pong from the peer. False: the peer sends too many. */
  mayControl(nowMs: number): boolean {
    const rate = { perSecond: CONTROL_FRAMES_PER_SECOND, burst: CONTROL_FRAMES_BURST };
    this.#control ??= new TokenBucket(rate, nowMs);
    return this.#control.tryTake(nowMs);
  }

  /** The peer gets a ping whose pong must not be passed on. */
  oweSilentPong(payload: Buffer): void {
    this.#owedPongs ??= [];
    this.#owedPongs.push(payload.toString("latin1"));
    if (this.#owedPongs.length > UNANSWERED_PINGS_MAX) this.#owedPongs.shift();
  }

  /** Whether its pong answers such a ping. A pong also answers all earlier pings (RFC 6455 §5.5.3). */
  settlePong(payload: Buffer): boolean {
    if (this.#owedPongs === undefined) return false;
    const index = this.#owedPongs.indexOf(payload.toString("latin1"));
    this.#owedPongs.splice(0, index + 1);
    return index >= 0;
  }
}

/** Both ends of a tunnel, and the meaning of their pings and pongs. */
export class Peers {
  readonly client: Peer;
  readonly sandbox: Peer;
  readonly #pingPayload: Buffer;

  /** @param pingPayload The payload of the ingress's own pings. */
  constructor(pingPayload: Buffer, nowMs: number) {
    this.client = new Peer(nowMs);
    this.sandbox = new Peer(nowMs);
    this.#pingPayload = pingPayload;
  }

  /**
   * Decides about a control frame: pass it on, drop it because it only answers the ingress, or end a flood of such
   * frames.
   */
  judge(from: End, { kind, data }: ControlFrame, nowMs: number): "pass" | "drop" | "flood" {
    const peer = this[from];
    if (!peer.mayControl(nowMs)) return "flood";
    if (kind === "pong") return this.#pingPayload.equals(data) || peer.settlePong(data) ? "drop" : "pass";
    // Bun has already sent the client its pong. The sandbox's would be a second one.
    if (from === "client") this.sandbox.oweSilentPong(data);
    return "pass";
  }

  /** Checks whether both ends are there. */
  check(nowMs: number, intervalMs: number): Readonly<Record<End, PulseVerdict>> {
    return { client: this.client.check(nowMs, intervalMs), sandbox: this.sandbox.check(nowMs, intervalMs) };
  }
}
