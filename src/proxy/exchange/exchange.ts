import { IngressError, toInternalError } from "../../errors.ts";
import type { BodyFlow } from "./body-flow.ts";
import type { ExchangeOutcome, ExchangeState, ExchangeSubject } from "./exchange-subject.ts";
import type { ExchangeShare } from "./share.ts";
import { STALLED_DOWNLOAD_BYTES, stalledBytesOf } from "./stalled-sizes.ts";
import type { Upstream } from "../upstream/upstream.ts";

/** The callbacks of an exchange. All exchanges share one object, so that no request needs closures. */
export interface ExchangeObserver {
  /** Bytes have moved in either direction. Called for each chunk, so it must be cheap. */
  onActivity(exchange: Exchange): void;
  /** Called once, when the head of the sandbox's answer has arrived. */
  onHead(exchange: Exchange, afterMs: number): void;
  /**
   * Called exactly once, after the exchange has left the register and given back everything that it held. Must not
   * throw.
   */
  onEnd(exchange: Exchange, outcome: ExchangeOutcome): void;
  /**
   * The exchange was cut while a part of its answer waits in Bun's buffers. It must end when Bun has let go of them.
   */
  onCutUnread(exchange: Exchange): void;
}

/** A resource that an exchange holds until it ends. */
export interface Releasable {
  /** @param error Why the exchange ended early; undefined: the sandbox's answer was read completely. */
  release(error?: IngressError): void;
}

/** The status of an upgrade (RFC 9110 §15.2.2). */
const SWITCHING_PROTOCOLS = 101;

/** What an exchange knows about the register, which counts exchanges and the memory that they hold. */
export interface ExchangeRegistry {
  add(exchange: Exchange): void;
  remove(exchange: Exchange): void;
  /** From now on counts an exchange and what it holds for another upstream. */
  move(exchange: Exchange, to: Upstream): void;
  /**
   * Changes how much an exchange holds in the memory account. Returns false, and changes nothing, if the account
   * refuses.
   */
  tryHold(exchange: Exchange, bytes: number): boolean;
  /** Whether a stream may begin that may hold up to `bytes`. */
  hasRoomFor(exchange: Exchange, bytes: number): boolean;
  /** Sets how much an exchange holds because a receiver does not read. */
  setStalled(exchange: Exchange, bytes: number): void;
  /** The exchange was cut, but what it holds is free only when Bun has let go of its answer. */
  setEnding(exchange: Exchange): void;
}

/** How long an exchange may wait for its sandbox. */
export interface Patience {
  /** Monotonic ms at which the wait ends. */
  untilMs: number;
  /** What the client is told when the wait ends. */
  error: IngressError;
  /** How many connections were refused so far. */
  refusals: number;
  /** Whether a person waits in front of a browser. */
  readonly isNavigation: boolean;
  /** Monotonic ms at which the wait began. */
  readonly sinceMs: number;
  /** The request's body, if it was read completely and may be sent again. The memory account counts it. */
  body: Uint8Array | undefined;
  /** Prepares a streamed body to be sent again. Returns false if part of the body was read and is lost. */
  rewind: (() => boolean) | undefined;
}

/** The parts that an exchange uses besides its subject. */
export interface ExchangeParts {
  readonly upstream: Upstream;
  readonly register: ExchangeRegistry;
  /**
   * The client's share; undefined: many clients share the address, since it belongs to a proxy or a private network.
   */
  readonly client: ExchangeShare | undefined;
  readonly observer: ExchangeObserver;
}

/**
 * One request between client and sandbox, from its admission to the last byte. It alone changes its state.
 *
 * Code that takes a resource for an exchange registers the release right there, with `hold`.
 */
export class Exchange {
  readonly client: ExchangeShare | undefined;
  /** The request's body, if it is streamed. */
  upload: BodyFlow | undefined;
  /** The answer's body, if it is streamed. */
  download: BodyFlow | undefined;
  /** Bytes of bodies and messages that came from the client. */
  bytesIn = 0;
  /** Bytes of bodies and messages that went to the client. */
  bytesOut = 0;
  /** Monotonic ms when the answer's head arrived; undefined: it has not arrived. */
  headAt: number | undefined;
  /**
   * Monotonic ms when the request was handed on, or when the last byte of its body was. Before that, the start of the
   * exchange.
   */
  sentAt: number;
  /** Monotonic ms of the last sign of life in either direction. */
  activeAt: number;
  /** Monotonic ms when the idle timer of the client's connection was last reset. */
  rearmedAt: number;
  /** `address:port` that is dialled; undefined: not yet dialled. It holds a name only if nothing resolved the name. */
  dialled: string | undefined;
  /** How the tunnel was closed (RFC 6455 §7.1.5). */
  closeCode: number | undefined;
  /** How long the exchange may wait for its sandbox; undefined: it does not wait. */
  patience: Patience | undefined;
  /** Whether the request was handed on to the sandbox. Before that it is no use of the sandbox, however it ends. */
  isForwarded = false;
  /** Places in the register. Only the register uses them. */
  registerSlot = 0;
  upstreamSlot = 0;
  /** Bytes in the memory account. Only the account changes them. */
  accountedBytes = 0;
  /** How many of these bytes wait for a receiver to read. Only the account changes them. */
  stalledBytes = 0;
  /** Bytes in the account that are free when Bun has let go of the cut answer. Only the account changes them. */
  endingBytes = 0;
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
  /** Called when the exchange is cut while something is awaited. */
  #onCut: ((error: IngressError) => void) | undefined;

  /** Enters the register. `end` must follow. */
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

  /** Changes only when a wait is over. */
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

  /**
   * Why the exchange was cut; undefined: it was not. Failures that follow from the cut are not reported as their own.
   */
  get cutBy(): IngressError | undefined {
    return this.#cutBy;
  }

  /** Whether the client has begun to get the sandbox's answer, so that it is too late for a refusal. */
  get hasBegun(): boolean {
    return this.#status !== undefined;
  }

  /**
   * The exchange waits for its sandbox. From now on a client that leaves cuts it at once, but the end of a generation
   * does not.
   */
  park(): void {
    this.checkOpen();
    this.#advance("held");
    this.watchClient();
    this.noteTurn();
  }

  /** The exchange belongs to another generation of its sandbox from now on. */
  moveTo(upstream: Upstream): void {
    if (upstream === this.#upstream) return;
    if (this.#state !== "ended") this.#register.move(this, upstream);
    this.#upstream = upstream;
  }

  /** A wait is over. The request goes to the sandbox as it is now. */
  settle(subject: ExchangeSubject, { upstream, nowMs }: { readonly upstream: Upstream; readonly nowMs: number }): void {
    this.checkOpen();
    this.moveTo(upstream);
    this.#subject = subject;
    // All time limits begin now.
    this.sentAt = nowMs;
    this.activeAt = nowMs;
    this.#advance("receiving");
    this.noteTurn();
  }

  /** A small body has been read, or the body is streamed or missing. The request is about to be handed on. */
  connect(nowMs: number): void {
    this.checkOpen();
    this.#onCut = undefined;
    this.#advance("connecting");
    this.sentAt = nowMs;
  }

  /** A connection to the sandbox is known to be open. */
  connected(): void {
    if (this.#state === "connecting") this.#advance("waiting");
  }

  /** The head of the sandbox's answer has arrived. The client does not have it yet. */
  answered(nowMs: number): void {
    this.checkOpen();
    this.connected();
    this.headAt = nowMs;
    this.activeAt = nowMs;
    this.#observer.onHead(this, nowMs - this.subject.startedAt);
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

  /** Bun has the whole answer. It tells later when the last byte has left. */
  leave(): void {
    if (this.#state === "streaming") this.#advance("leaving");
  }

  /**
   * From now on a client that leaves cuts the exchange. If the client has left already, cuts it at once.
   *
   * This is not done at the beginning, because asking Bun for a request's signal costs more than most of what a short
   * request needs. The signal still reports an earlier event when it is asked later. Called for every exchange that
   * lives long enough to meet the watchdog.
   */
  watchClient(): void {
    if (this.#isClientWatched) return;
    this.#isClientWatched = true;
    const { signal } = this.subject.request;
    if (signal.aborted) this.#clientLeft();
    else signal.addEventListener("abort", () => this.#clientLeft(), { once: true });
  }

  /**
   * A tunnel is not cut here: it handles its own close, and Bun aborts the request's signal even for an orderly close.
   */
  #clientLeft(): void {
    const error = this.#cutBy ?? new IngressError("client_closed");
    if (this.#state === "leaving") this.end(error);
    else if (this.#state !== "tunnel") this.cut(error);
  }

  /** Throws the reason if the exchange has been cut. */
  checkOpen(): void {
    if (this.#cutBy !== undefined) throw this.#cutBy;
  }

  /**
   * Resolves or rejects as `pending` does, but rejects with the reason as soon as the exchange is cut. For promises of
   * Bun that do not end with the exchange, one at a time. A listener on `signal` would cost a small POST a tenth.
   */
  orCut<T>(pending: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#cutBy !== undefined) reject(this.#cutBy);
      else this.#onCut = reject;
      pending.then(resolve, reject);
    });
  }

  /** Runs the callback of an event. If it throws, only this exchange ends, as `internal`. */
  guard(callback: () => void): void {
    try {
      callback();
    } catch (thrown) {
      this.cut(toInternalError(thrown));
    }
  }

  /**
   * Registers a resource that must be released when the exchange ends. Releases it at once if the exchange has ended.
   */
  hold(resource: Releasable): void {
    if (this.#state === "ended") resource.release(this.#cutBy);
    else (this.#held ??= []).push(resource);
  }

  /** Releases a registered resource now. */
  giveBack(resource: Releasable, error: IngressError): void {
    const index = this.#held?.indexOf(resource) ?? -1;
    if (index < 0) return;
    this.#held?.splice(index, 1);
    resource.release(error);
  }

  /**
   * Ends the exchange early. The client gets `error` as the answer if no answer has begun; else the answer is visibly
   * cut.
   */
  cut(error: IngressError): void {
    if (this.#state === "ended" || this.#cutBy !== undefined) return;
    const isUnread = this.#isUnread();
    if (isUnread) this.noteTurn();
    this.#cutBy = error;
    this.#controller.abort(error);
    this.#onCut?.(error);
    // Once the head is sent, the stream does not report the abort, so the exchange ends here.
    if (!isUnread) {
      if (this.hasBegun) this.end(error);
      return;
    }
    // Bun keeps what it has of the answer. If that did not count, a client that reads nothing could fill the memory.
    this.#register.setEnding(this);
    try {
      this.#observer.onCutUnread(this);
    } catch (thrown) {
      this.end(toInternalError(thrown));
    }
  }

  /** Whether Bun has something of the answer that the client does not read. */
  #isUnread(): boolean {
    return this.#state === "leaving" || (this.#state === "streaming" && this.download?.turn === "sink");
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

  /**
   * Notes a sign of life that does not count as use of the sandbox, such as a ping. It keeps a tunnel open and renews
   * nothing.
   */
  noteAlive(nowMs: number): void {
    this.activeAt = nowMs;
  }

  /**
   * Changes what the exchange holds in the memory account to `bytes` in total. Returns false, and changes nothing, if
   * the account refuses.
   */
  tryHold(bytes: number): boolean {
    if (this.#state === "ended") return bytes === 0;
    return this.#register.tryHold(this, bytes);
  }

  /**
   * Throws `memory_short` if nothing may begin that may hold `bytes`. Default: the bytes of one more streamed answer.
   */
  checkRoom(bytes = STALLED_DOWNLOAD_BYTES): void {
    if (!this.#register.hasRoomFor(this, bytes)) throw new IngressError("memory_short");
  }

  /** The turn of one of its streamed bodies has changed. Updates the account of what waits for a receiver to read. */
  noteTurn(): void {
    // An exchange that was cut is about to end. Its share of the account is free for others.
    if (this.#state === "ended" || this.#cutBy !== undefined) return;
    const bytes = stalledBytesOf(this);
    if (bytes !== this.stalledBytes) this.#register.setStalled(this, bytes);
  }

  /**
   * Ends the exchange after the last byte, or with the error. Later calls do nothing. If a resource throws, the
   * exchange ends as `internal`.
   */
  end(error?: IngressError): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    let outcome = error;
    for (const resource of this.#held ?? []) {
      try {
        resource.release(outcome);
      } catch (thrown) {
        outcome = toInternalError(thrown);
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
      this.cut(toInternalError(thrown));
    }
  }

  #advance(to: ExchangeState): void {
    if (this.#state !== "ended") this.#state = to;
  }
}
