import { IngressError } from "../../errors.ts";
import type { BodyFlow } from "./body-flow.ts";
import type { ExchangeOutcome, ExchangeState, ExchangeSubject } from "./exchange-subject.ts";
import type { ExchangeShare } from "./share.ts";
import { STALLED_DOWNLOAD_BYTES, stalledBytesOf } from "./stalled-sizes.ts";
import type { Upstream } from "../upstream/upstream.ts";

/** What an exchange calls back. One object for all exchanges: no closures per request. */
export interface ExchangeObserver {
  /** Bytes moved in either direction. Called for each chunk, so it must be cheap. */
  onActivity(exchange: Exchange): void;
  /** Called exactly once, after the exchange has left the register and given back all that it held. Must not throw. */
  onEnd(exchange: Exchange, outcome: ExchangeOutcome): void;
  /** The exchange was cut while its answer waits in Bun's buffers, which only the end of the connection frees. */
  onCutWhileLeaving(exchange: Exchange): void;
}

/** A resource that an exchange holds until it ends. */
export interface Releasable {
  /** @param error Why the exchange ended early; undefined: the sandbox's answer was read whole. */
  release(error?: IngressError): void;
}

/** The status of an upgrade (RFC 9110 §15.2.2). */
const SWITCHING_PROTOCOLS = 101;

/** Where exchanges are counted and hold memory: what an exchange knows of the register. */
export interface ExchangeRegistry {
  add(exchange: Exchange): void;
  remove(exchange: Exchange): void;
  /** Counts an exchange and what it holds for another upstream from now on. */
  move(exchange: Exchange, to: Upstream): void;
  /** Changes what it holds of the memory account. False, and unchanged, where the account refuses. */
  tryHold(exchange: Exchange, bytes: number): boolean;
  /** Whether a stream may begin that may come to hold `bytes`. */
  hasRoomFor(exchange: Exchange, bytes: number): boolean;
  /** Says how much an exchange holds because a receiver owes a read. */
  setStalled(exchange: Exchange, bytes: number): void;
}

/** How long an exchange may wait for its sandbox. */
export interface Patience {
  /** Monotonic ms when it is over. */
  untilMs: number;
  /** What its client is told then. */
  error: IngressError;
  /** Connections that were refused so far. */
  refusals: number;
  /** Whether somebody looks at a browser that loads meanwhile. */
  readonly isNavigation: boolean;
  /** Monotonic ms when the wait began. */
  readonly sinceMs: number;
  /** The request's body, where it was read whole and may be sent again. In the memory account. */
  body: Uint8Array | undefined;
  /** Makes a body that is streamed ready to be sent again. False: something of it has been read, and is lost. */
  rewind: (() => boolean) | undefined;
}

/** What an exchange works with, beside its subject. */
export interface ExchangeParts {
  readonly upstream: Upstream;
  readonly register: ExchangeRegistry;
  /** The client's share; undefined: the address is that of a proxy or of a private network, which many share. */
  readonly client: ExchangeShare | undefined;
  readonly observer: ExchangeObserver;
}

/**
 * One request between client and sandbox, from its admission to the last byte. The only owner of its state.
 *
 * Whoever takes a resource for an exchange registers its tear-down at that place, with `hold`.
 */
export class Exchange {
  readonly client: ExchangeShare | undefined;
  /** The request's body, where it is streamed. */
  upload: BodyFlow | undefined;
  /** The answer's body, where it is streamed. */
  download: BodyFlow | undefined;
  /** Bytes of bodies and messages that came from the client. */
  bytesIn = 0;
  /** Bytes of bodies and messages that went to the client. */
  bytesOut = 0;
  /** Monotonic ms when the answer's head arrived; undefined: it has not. */
  headAt: number | undefined;
  /** Monotonic ms when the request was handed on, or a byte of its body last was; the beginning before that. */
  sentAt: number;
  /** Monotonic ms of the last sign of life in either direction. */
  activeAt: number;
  /** Monotonic ms when the client connection's idle timer was last wound up. */
  rearmedAt: number;
  /** `address:port` that is dialled; undefined: not yet. A name stands here only where nobody resolved it. */
  dialled: string | undefined;
  /** How the tunnel was closed (RFC 6455 §7.1.5). */
  closeCode: number | undefined;
  /** How long it may wait for its sandbox; undefined: it does not wait. */
  patience: Patience | undefined;
  /** Places in the register: its own business. */
  registerSlot = 0;
  upstreamSlot = 0;
  /** Bytes in the memory account: the account's own business. */
  accountedBytes = 0;
  /** Bytes among them that wait for a read: the account's own business. */
  stalledBytes = 0;
  readonly #register: ExchangeRegistry;
  readonly #observer: ExchangeObserver;
  readonly #controller = new AbortController();
  #subject: ExchangeSubject;
  #upstream: Upstream;
  #held: Releasable[] | undefined;
  #state: ExchangeState = "receiving";
  #cutBy: IngressError | undefined;
  #status: number | undefined;
  #isClientWatched = false;

  /** Enters the register: from here on `end` must follow. */
  constructor(subject: ExchangeSubject, parts: ExchangeParts) {
    this.#subject = subject;
    this.#upstream = parts.upstream;
    this.client = parts.client;
    this.#register = parts.register;
    this.#observer = parts.observer;
    this.activeAt = subject.startedAt;
    this.sentAt = subject.startedAt;
    this.rearmedAt = subject.startedAt;
    this.#register.add(this);
  }

  /** Changes only when it has been held. */
  get subject(): ExchangeSubject {
    return this.#subject;
  }

  /** Changes only while it is held. */
  get upstream(): Upstream {
    return this.#upstream;
  }

  get state(): ExchangeState {
    return this.#state;
  }

  /** Aborts when the exchange is cut: for `fetch` and whatever else waits. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Why the exchange was cut, if it was. What failed because of that is no fault of its own. */
  get cutBy(): IngressError | undefined {
    return this.#cutBy;
  }

  /** Whether the client reads the sandbox's answer already: a refusal is too late. */
  get hasBegun(): boolean {
    return this.#status !== undefined;
  }

  /** It waits for its sandbox. From now on a client that leaves cuts it at once, and no end of a generation does. */
  park(): void {
    this.checkOpen();
    this.#advance("held");
    this.watchClient();
    this.noteTurn();
  }

  /** Its sandbox has another generation. */
  moveTo(upstream: Upstream): void {
    if (upstream === this.#upstream) return;
    if (this.#state !== "ended") this.#register.move(this, upstream);
    this.#upstream = upstream;
  }

  /** The wait is over: the request goes to what its sandbox is now. */
  settle(subject: ExchangeSubject, upstream: Upstream): void {
    this.checkOpen();
    this.moveTo(upstream);
    this.#subject = subject;
    this.#advance("receiving");
    this.noteTurn();
  }

  /** The small body is here, or there is none or a streamed one: the request is about to be handed on. */
  connect(nowMs: number): void {
    this.checkOpen();
    this.#advance("connecting");
    this.sentAt = nowMs;
  }

  /** A connection to the sandbox is known to stand. */
  connected(): void {
    if (this.#state === "connecting") this.#advance("waiting");
  }

  /** The head of the sandbox's answer is here. It is not with the client yet. */
  answered(nowMs: number): void {
    this.checkOpen();
    this.connected();
    this.headAt = nowMs;
    this.activeAt = nowMs;
  }

  /** The head of the sandbox's answer is on its way to the client. */
  stream(status: number): void {
    this.#status = status;
    this.#advance("streaming");
  }

  /** The client is about to be upgraded. */
  openTunnel(): void {
    this.#status = SWITCHING_PROTOCOLS;
    this.#advance("tunnel");
  }

  /** The whole answer is with Bun, which tells later when its last byte has left. */
  leave(): void {
    if (this.#state === "streaming") this.#advance("leaving");
  }

  /**
   * From now on a client that leaves cuts the exchange; one that has left already cuts it at once.
   *
   * Not from the beginning: to ask Bun for a request's signal costs more than most of what a short request needs, and
   * the signal still tells when it is asked later. Called for whatever lives long enough to meet the watchdog.
   */
  watchClient(): void {
    if (this.#isClientWatched) return;
    this.#isClientWatched = true;
    const { signal } = this.subject.request;
    if (signal.aborted) this.#clientLeft();
    else signal.addEventListener("abort", () => this.#clientLeft(), { once: true });
  }

  /** A WebSocket has a close of its own; Bun aborts the request's signal for an orderly one, too. */
  #clientLeft(): void {
    const error = this.#cutBy ?? new IngressError("client_closed");
    if (this.#state === "leaving") this.end(error);
    else if (this.#state !== "tunnel") this.cut(error);
  }

  /** Throws the reason when the exchange has been cut. */
  checkOpen(): void {
    if (this.#cutBy !== undefined) throw this.#cutBy;
  }

  /** Runs the callback of an event. What it throws ends the exchange as `internal`, and nothing else. */
  guard(callback: () => void): void {
    try {
      callback();
    } catch (thrown) {
      this.cut(toInternal(thrown));
    }
  }

  /** Registers what must be given back when the exchange ends; at once where it has ended. */
  hold(resource: Releasable): void {
    if (this.#state === "ended") resource.release(this.#cutBy);
    else (this.#held ??= []).push(resource);
  }

  /** Gives back at once what it holds. */
  giveBack(resource: Releasable, error: IngressError): void {
    const index = this.#held?.indexOf(resource) ?? -1;
    if (index < 0) return;
    this.#held?.splice(index, 1);
    resource.release(error);
  }

  /** Ends it early: with `error` as the answer where none has begun, else visibly cut. */
  cut(error: IngressError): void {
    if (this.#state === "ended" || this.#cutBy !== undefined) return;
    this.#cutBy = error;
    this.#controller.abort(error);
    // Once the head is sent, an unread stream does not report the abort, so it ends here.
    if (this.#state !== "leaving") {
      if (this.hasBegun) this.end(error);
      return;
    }
    try {
      this.#observer.onCutWhileLeaving(this);
    } catch (thrown) {
      this.end(toInternal(thrown));
    }
  }

  countIn(bytes: number, nowMs: number): void {
    this.bytesIn += bytes;
    this.sentAt = nowMs;
    this.#touch(nowMs);
  }

  countOut(bytes: number, nowMs: number): void {
    this.bytesOut += bytes;
    this.#touch(nowMs);
  }

  /** A sign of life that is no use of the sandbox, such as a ping: it keeps a tunnel open, and renews nothing. */
  noteAlive(nowMs: number): void {
    this.activeAt = nowMs;
  }

  /** Changes what it holds of the memory account to `bytes` in all. False, and unchanged, where the account refuses. */
  tryHold(bytes: number): boolean {
    if (this.#state === "ended") return bytes === 0;
    return this.#register.tryHold(this, bytes);
  }

  /** Throws `memory_short` where nothing may begin that may come to hold `bytes`; default: a further answer that is streamed. */
  checkRoom(bytes = STALLED_DOWNLOAD_BYTES): void {
    if (!this.#register.hasRoomFor(this, bytes)) throw new IngressError("memory_short");
  }

  /** The turn of one of its streamed bodies has changed: what waits for a read is in the account. */
  noteTurn(): void {
    // What was cut is on its way out: its share of the account is free for others.
    if (this.#state === "ended" || this.#cutBy !== undefined) return;
    const bytes = stalledBytesOf(this);
    if (bytes !== this.stalledBytes) this.#register.setStalled(this, bytes);
  }

  /** Ends it: after the last byte, or with what went wrong. Later calls do nothing. What a resource throws makes it `internal`. */
  end(error?: IngressError): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    let outcome = error;
    for (const resource of this.#held ?? []) {
      try {
        resource.release(outcome);
      } catch (thrown) {
        outcome = toInternal(thrown);
      }
    }
    this.#register.remove(this);
    this.#observer.onEnd(this, { status: this.#status ?? outcome?.status ?? 0, error: outcome });
  }

  #touch(nowMs: number): void {
    this.activeAt = nowMs;
    try {
      this.#observer.onActivity(this);
    } catch (thrown) {
      this.cut(toInternal(thrown));
    }
  }

  #advance(to: ExchangeState): void {
    if (this.#state !== "ended") this.#state = to;
  }
}

function toInternal(thrown: unknown): IngressError {
  return new IngressError("internal", undefined, { cause: thrown });
}
