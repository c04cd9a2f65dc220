import type { FrameKind } from "./frame-queue.ts";
import { Pulse, type PulseVerdict } from "./pulse.ts";
import { TokenBucket } from "./token-bucket.ts";

/** Pings and pongs that each side of a tunnel may send, a second in the long run: programs send one in many seconds. */
const CONTROL_FRAMES_PER_SECOND = 50;

/** The same at once: what a side that was not read for a quarter of an hour may have sent meanwhile, at one a second. */
const CONTROL_FRAMES_BURST = 1_000;

/**
 * Pings that a tunnel remembers, until the other side answers them. The answer to an older one passes, which
 * RFC 6455 §5.5.3 allows.
 */
const UNANSWERED_PINGS_MAX = 16;

/** The two ends of a tunnel. */
export type End = "client" | "sandbox";

/** A frame that has come from one of them. */
export interface ArrivedFrame {
  readonly kind: FrameKind;
  readonly data: string | Buffer;
}

/** What a tunnel knows of one of its ends: whether it is there, how many pings it sends, and which pongs it owes. */
class Peer {
  readonly #pulse: Pulse;
  /** Made with the first ping or pong: most tunnels see none. */
  #control: TokenBucket | undefined;
  #owedPongs: string[] | undefined;

  constructor(nowMs: number) {
    this.#pulse = new Pulse(nowMs);
  }

  /** Something has come from it, or it could not, since it is not read. */
  beat(): void {
    this.#pulse.beat();
  }

  /** Looks whether it is there. */
  check(nowMs: number, intervalMs: number): PulseVerdict {
    return this.#pulse.check(nowMs, intervalMs);
  }

  /** Counts a ping or pong that it sent; false: it sends a flood of them. */
  mayControl(nowMs: number): boolean {
    const rate = { perSecond: CONTROL_FRAMES_PER_SECOND, burst: CONTROL_FRAMES_BURST };
    this.#control ??= new TokenBucket(rate, nowMs);
    return this.#control.tryTake(nowMs);
  }

  /** It is sent a ping whose pong must not be passed on. */
  oweSilentPong(payload: Buffer): void {
    this.#owedPongs ??= [];
    this.#owedPongs.push(payload.toString("latin1"));
    if (this.#owedPongs.length > UNANSWERED_PINGS_MAX) this.#owedPongs.shift();
  }

  /** Whether its pong answers such a ping. It answers all before it as well (RFC 6455 §5.5.3). */
  settlePong(payload: Buffer): boolean {
    if (this.#owedPongs === undefined) return false;
    const index = this.#owedPongs.indexOf(payload.toString("latin1"));
    this.#owedPongs.splice(0, index + 1);
    return index >= 0;
  }
}

/** Both ends of a tunnel, and what their pings and pongs mean. */
export class Peers {
  readonly client: Peer;
  readonly sandbox: Peer;
  readonly #pingPayload: Buffer;

  /** @param pingPayload What the ingress's own pings carry. */
  constructor(pingPayload: Buffer, nowMs: number) {
    this.client = new Peer(nowMs);
    this.sandbox = new Peer(nowMs);
    this.#pingPayload = pingPayload;
  }

  /** Whether a frame is to be passed on, or is an answer to the ingress alone, or one of a flood of control frames. */
  judge(from: End, { kind, data }: ArrivedFrame, nowMs: number): "pass" | "drop" | "flood" {
    const peer = this[from];
    peer.beat();
    if (typeof data === "string" || kind === "text" || kind === "binary") return "pass";
    if (!peer.mayControl(nowMs)) return "flood";
    if (kind === "pong") return this.#pingPayload.equals(data) || peer.settlePong(data) ? "drop" : "pass";
    // Bun has sent the client its pong already; the sandbox's would be a second one.
    if (from === "client") this.sandbox.oweSilentPong(data);
    return "pass";
  }

  /** Looks whether both are there. */
  check(nowMs: number, intervalMs: number): Readonly<Record<End, PulseVerdict>> {
    return { client: this.client.check(nowMs, intervalMs), sandbox: this.sandbox.check(nowMs, intervalMs) };
  }
}
