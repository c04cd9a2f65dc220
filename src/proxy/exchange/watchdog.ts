import type { Clock, Timer } from "../../clock.ts";
import { IngressError, toInternalError } from "../../errors.ts";
import { limitFor } from "../../sandbox/policy.ts";
import type { Exchange } from "./exchange.ts";
import type { ExchangeRegister } from "./register.ts";

/**
 * How often all open exchanges are checked, in milliseconds. A time limit strikes at most this late, and a client that
 * leaves is noticed at most this late. One timer serves all exchanges.
 */
export const SWEEP_INTERVAL_MS = 250;

/**
 * Seconds after which Bun closes a quiet client connection; Bun allows at most 255. It is more than the longest time
 * that known pools keep idle connections (Go: 90 s) plus `REARM_INTERVAL_MS`, so that the client always closes first.
 */
export const CLIENT_IDLE_SECONDS = 150;

/**
 * How often the idle timer of a client connection is reset while the ingress waits for the sandbox, in milliseconds. So
 * a quiet stream stays open, and the connection still has an idle timer when the stream is over.
 */
const REARM_INTERVAL_MS = 30_000;

/** The time limits of an exchange, in milliseconds. */
export interface TimeLimits {
  /** `--connect-timeout`. */
  readonly connectTimeoutMs: number;
  /** `--response-timeout`; 0: no limit. An annotation of the sandbox lowers it, and the next one. */
  readonly responseTimeoutMs: number;
  /** `--stream-idle-timeout`; 0: no limit. */
  readonly streamIdleTimeoutMs: number;
  /** `--client-idle-timeout`; 0: no limit. */
  readonly clientIdleTimeoutMs: number;
}

/**
 * What the kernel reports about the connections to an address and port of a sandbox:
 * - `established`: at least one is open.
 * - `connecting`: all of them wait for the other side.
 * - `none`: there is no connection.
 * - `unknown`: the kernel does not tell.
 */
export type ConnectionState = "established" | "connecting" | "none" | "unknown";

export interface WatchdogSeams {
  readonly clock: Clock;
  /** Resets the idle timer of the client connection that `request` came through. */
  rearm(request: Request): void;
  /** The state of connections to an address (without brackets) and port. Never rejects. */
  connectionState(address: string, port: number): Promise<ConnectionState>;
  /** Called at the end of each sweep with the monotonic time, for other parts that need a slow clock. */
  onSweep(nowMs: number): void;
}

/** Checks all open exchanges in one sweep, instead of one timer for each request. */
export class Watchdog {
  readonly #register: ExchangeRegister;
  readonly #limits: TimeLimits;
  readonly #seams: WatchdogSeams;
  /** Exchanges for which a question to the kernel is open. */
  readonly #asked = new Set<Exchange>();
  #timer: Timer | undefined;

  constructor(register: ExchangeRegister, limits: TimeLimits, seams: WatchdogSeams) {
    this.#register = register;
    this.#limits = limits;
    this.#seams = seams;
  }

  start(): void {
    this.#timer ??= this.#seams.clock.setTimer(SWEEP_INTERVAL_MS, () => this.#sweep());
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #sweep(): void {
    const now = this.#seams.clock.monotonic();
    this.#timer = undefined;
    try {
      for (const exchange of this.#register) exchange.guard(() => this.#look(exchange, now));
      this.#seams.onSweep(now);
    } finally {
      this.start();
    }
  }

  #look(exchange: Exchange, now: number): void {
    exchange.watchClient();
    const error = this.#overdue(exchange, now);
    if (error !== undefined) return exchange.cut(error);
    // While the ingress waits for the client, Bun's idle timer runs. It ends clients that neither send nor read.
    if (now - exchange.rearmedAt < REARM_INTERVAL_MS || !isSandboxAwaited(exchange)) return;
    exchange.rearmedAt = now;
    this.#seams.rearm(exchange.subject.request);
  }

  /** The limits of each state. Returns why an exchange must end now, or undefined. */
  #overdue(exchange: Exchange, now: number): IngressError | undefined {
    const { clientIdleTimeoutMs } = this.#limits;
    const { policy } = exchange.subject;
    const responseTimeoutMs = limitFor(this.#limits.responseTimeoutMs, policy?.responseTimeoutMs);
    const streamIdleTimeoutMs = limitFor(this.#limits.streamIdleTimeoutMs, policy?.streamIdleTimeoutMs);
    const isOver = (limitMs: number, since: number): boolean => limitMs > 0 && now - since >= limitMs;
    switch (exchange.state) {
      case "held": {
        const { patience } = exchange;
        return patience !== undefined && now >= patience.untilMs ? patience.error : undefined;
      }
      case "receiving":
        if (isOver(clientIdleTimeoutMs, exchange.sentAt)) return new IngressError("client_timeout");
        // Of a small body, no byte is seen before the last.
        if (exchange.upload === undefined || !isOver(streamIdleTimeoutMs, exchange.activeAt)) return undefined;
        return new IngressError("client_timeout");
      case "connecting":
      case "waiting": {
        const { upload } = exchange;
        const isClientAwaited = upload !== undefined && upload.turn === "source";
        if (isClientAwaited && isOver(clientIdleTimeoutMs, upload.since)) return new IngressError("client_timeout");
        if (exchange.headAt !== undefined) return undefined; // Collecting the answer has its own limit.
        // A sandbox that waits for a client does not answer late.
        if (!isClientAwaited && isOver(responseTimeoutMs, exchange.sentAt)) return new IngressError("upstream_timeout");
        const isUploading = upload !== undefined && upload.turn !== "through";
        if (isUploading && isOver(streamIdleTimeoutMs, exchange.activeAt)) {
          return new IngressError(upload.turn === "source" ? "client_timeout" : "upstream_timeout");
        }
        if (exchange.state === "connecting") this.#lookAtConnection(exchange, now);
        return undefined;
      }
      case "streaming":
      case "tunnel":
        return isOver(streamIdleTimeoutMs, exchange.activeAt) ? new IngressError("upstream_timeout") : undefined;
      case "leaving":
      case "ended":
        return undefined;
    }
  }

  /**
   * `fetch` does not tell whether it connects or waits, so the kernel is asked. A request is cut only if no connection
   * to its address and port is open: an open one may be its own, and a busy server may need long to answer.
   */
  #lookAtConnection(exchange: Exchange, now: number): void {
    const { dialled } = exchange;
    // Name resolution has its own limit.
    if (dialled === undefined || this.#asked.has(exchange)) return;
    if (now - exchange.sentAt < this.#limits.connectTimeoutMs) return;
    void this.#askKernel(exchange, dialled);
  }

  async #askKernel(exchange: Exchange, dialled: string): Promise<void> {
    this.#asked.add(exchange);
    const split = dialled.lastIndexOf(":");
    const address = dialled.slice(0, split).replaceAll(/[[\]]/g, "");
    try {
      const state = await this.#seams.connectionState(address, Number(dialled.slice(split + 1)));
      this.#judgeConnection(exchange, state);
    } catch (thrown) {
      exchange.cut(toInternalError(thrown));
    } finally {
      this.#asked.delete(exchange);
    }
  }

  #judgeConnection(exchange: Exchange, state: ConnectionState): void {
    if (exchange.state !== "connecting" || exchange.headAt !== undefined) return;
    const { port } = exchange.subject.route;
    if (state === "established") {
      exchange.upstream.noteConnected(port);
      exchange.connected();
      return;
    }
    if (state === "unknown" && exchange.upstream.hasConnected(port)) return;
    exchange.cut(new IngressError("upstream_unreachable"));
  }
}

/** Whether the exchange waits for the sandbox to send or to read. */
function isSandboxAwaited(exchange: Exchange): boolean {
  switch (exchange.state) {
    case "held":
      return true;
    case "connecting":
    case "waiting":
      return exchange.upload?.turn !== "source";
    case "streaming":
      return exchange.download?.turn === "source";
    case "receiving":
    case "tunnel":
    case "leaving":
    case "ended":
      return false;
  }
}
