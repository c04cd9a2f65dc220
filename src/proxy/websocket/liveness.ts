import type { End } from "./close-codes.ts";
import type { Relay } from "./relay.ts";
import type { SandboxSide } from "./sandbox-side.ts";

/**
 * How often a client that is not read gets a ping, in milliseconds. The end of its connection would arrive only behind
 * the unread data. But a client that has left answers the ping with a reset, which Bun usually reports at once. If it
 * does not, the next ping never leaves, and the client counts as dead.
 */
const PAUSED_CLIENT_PING_MS = 3_000;

/** The result of a check. */
export interface LivenessLook {
  /** The end that has left pings unanswered; undefined: both may be there. */
  readonly dead: End | undefined;
  /** How many pings were sent. */
  readonly pings: number;
}

/** Asks the ends of a tunnel whether they are still there. */
export class Liveness {
  readonly #relay: Relay;
  readonly #sandbox: SandboxSide;
  readonly #pingPayload: Buffer;
  /** Monotonic ms of the last ping to the client while it was not read. Before that, the start of the tunnel. */
  #pausedPingAt: number;

  constructor(relay: Relay, sandbox: SandboxSide, options: { readonly pingPayload: Buffer; readonly nowMs: number }) {
    this.#relay = relay;
    this.#sandbox = sandbox;
    this.#pingPayload = options.pingPayload;
    this.#pausedPingAt = options.nowMs;
  }

  /** Checks both ends, and pings those that were silent for `intervalMs`. */
  look(nowMs: number, intervalMs: number): LivenessLook {
    const { client, peers, toClient, toSandbox, isHeld } = this.#relay;
    // A side that is not read can show that it is there only by taking data that waits for it.
    const isClientUnread = toSandbox.isPaused || isHeld;
    if (isClientUnread && client.waitingBytes === 0) peers.client.beat();
    if (toClient.isPaused || isHeld) peers.sandbox.beat();
    const verdicts = peers.check(nowMs, intervalMs);
    if (verdicts.client === "dead") return { dead: "client", pings: 0 };
    if (verdicts.sandbox === "dead") return { dead: "sandbox", pings: 0 };
    // A ping behind waiting data would not arrive. If the data drains, that is as good as a pong.
    const isPausedPingDue = isClientUnread && nowMs - this.#pausedPingAt >= PAUSED_CLIENT_PING_MS;
    if (isPausedPingDue) this.#pausedPingAt = nowMs;
    const asksClient = (verdicts.client === "ask" || isPausedPingDue) && client.waitingBytes === 0;
    const asksSandbox = verdicts.sandbox === "ask" && this.#sandbox.waitingBytes === 0;
    if (asksClient) client.ping(this.#pingPayload);
    if (asksSandbox) this.#sandbox.socket.ping(this.#pingPayload);
    return { dead: undefined, pings: Number(asksClient) + Number(asksSandbox) };
  }
}
