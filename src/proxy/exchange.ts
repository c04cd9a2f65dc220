import { IngressError } from "../errors.ts";
import type { SandboxUse } from "../renew/renew-publisher.ts";
import type { Route } from "../route/route.ts";
import type { InFlight, LeasedSession, Upstream } from "./upstream.ts";

/** How an exchange ended: what was told to the client, and why. */
export interface ExchangeOutcome {
  readonly status: number;
  /** The refusal or failure; undefined: the sandbox's answer was delivered whole. */
  readonly error: IngressError | undefined;
}

/** What an exchange is about. */
export interface ExchangeSubject {
  readonly request: Request;
  readonly route: Route;
  /** The path that is forwarded, without the query. */
  readonly path: string;
  /** Empty, or begins with `?`. */
  readonly query: string;
  /** Bytes of the request's body; 0: there is none; undefined: it is chunked. */
  readonly bodyLength: number | undefined;
  /** `host:port` to dial. */
  readonly hostPort: string;
  readonly clientAddress: string;
  /** To the sandbox, to the client, and in the log. */
  readonly requestId: string;
  /** Whether the client sent `Connection: close`: the answer says so, too (RFC 9112 §9.6), and Bun closes. */
  readonly isLast: boolean;
  /** What is reported while it uses the sandbox (OSEP-0009); undefined: the client asked for silence, or nobody listens. */
  readonly use: SandboxUse | undefined;
  /** Monotonic milliseconds when the request came in. */
  readonly startedAt: number;
}

/** What an exchange calls back. One object for all exchanges: no closures per request. */
export interface ExchangeObserver {
  /** Bytes moved in either direction. Called for each chunk, so it must be cheap. */
  onActivity(exchange: Exchange): void;
  /** Called exactly once. */
  onEnd(exchange: Exchange, outcome: ExchangeOutcome): void;
}

/** The status of an upgrade (RFC 9110 §15.2.2). */
const SWITCHING_PROTOCOLS = 101;

/** One request between client and sandbox, from routing to the last byte. */
export class Exchange implements InFlight {
  readonly subject: ExchangeSubject;
  readonly upstream: Upstream;
  /** Bytes of the request's body; undefined: it is passed on uncounted, and not known to be through. */
  bytesIn: number | undefined = 0;
  bytesOut = 0;
  /** Monotonic ms when the request was handed to `fetch`, or a byte of it was last read; 0: not yet. */
  sentAt = 0;
  /** Monotonic ms when the answer's head arrived; 0: not yet. */
  headAt = 0;
  /** Monotonic ms of the last byte in either direction. */
  activeAt: number;
  /** Monotonic ms when the client connection's idle timer was last wound up. */
  rearmedAt: number;
  /** Where the watchdog has it. */
  watchSlot = 0;
  /** Whether it has been asked beside the request, or before it, if the sandbox can be reached. */
  probed = false;
  lease: LeasedSession | undefined;
  /** What the exchange is: a request, or the tunnel that it became or asked to become. */
  kind: "request" | "tunnel" = "request";
  /** How the tunnel was closed (RFC 6455 §7.1.5). */
  closeCode: number | undefined;
  readonly #observer: ExchangeObserver;
  readonly #controller = new AbortController();
  readonly #slot: number;
  #cutBy: IngressError | undefined;
  #status = 0;
  #isClientWatched = false;
  #ended = false;

  constructor(subject: ExchangeSubject, upstream: Upstream, observer: ExchangeObserver) {
    this.subject = subject;
    this.upstream = upstream;
    this.#observer = observer;
    this.activeAt = subject.startedAt;
    this.rearmedAt = subject.startedAt;
    this.#slot = upstream.inFlight.add(this);
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
    if (this.#status !== SWITCHING_PROTOCOLS) this.cut(new IngressError("client_closed"));
  }

  /** Aborts when the exchange is cut: for `fetch` and whatever else waits. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Why the exchange was cut, if it was. What failed because of that is no fault of its own. */
  get cutBy(): IngressError | undefined {
    return this.#cutBy;
  }

  /** Throws the reason when the exchange has been cut. */
  checkOpen(): void {
    if (this.#cutBy !== undefined) throw this.#cutBy;
  }

  cut(error: IngressError): void {
    if (this.#ended || this.#cutBy !== undefined) return;
    this.#cutBy = error;
    this.#controller.abort(error);
    // With the head already at the client nobody else may notice: a stream that is not read is not torn either.
    if (this.#status !== 0) this.end(error);
  }

  /** The head of the sandbox's answer is on its way to the client. */
  begin(status: number): void {
    this.#status = status;
  }

  countIn(bytes: number, nowMs: number): void {
    this.bytesIn = (this.bytesIn ?? 0) + bytes;
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

  /** Ends it: after the last byte, or with what went wrong. Later calls do nothing. */
  end(error?: IngressError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.upstream.inFlight.remove(this.#slot);
    this.lease?.release();
    if (error === undefined) this.bytesIn ??= this.subject.bodyLength;
    const refused = this.#status === 0 && error !== undefined;
    this.#observer.onEnd(this, { status: refused ? error.status : this.#status, error });
  }

  #touch(nowMs: number): void {
    this.activeAt = nowMs;
    this.#observer.onActivity(this);
  }
}
