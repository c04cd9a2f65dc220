import type { Clock, Timer } from "../../clock.ts";
import { IngressError } from "../../errors.ts";
import type { Exchange } from "./exchange.ts";
import type { ExchangeRegister } from "./register.ts";

/**
 * How often everything open is looked at, in milliseconds: how late a time limit may strike, and how late a client is missed
 * that leaves. One timer for all exchanges.
 */
const SWEEP_INTERVAL_MS = 250;

/**
 * Seconds after which Bun closes a quiet client connection. More than the longest that known pools keep idle ones
 * (Go, 90 s) plus `REARM_INTERVAL_MS`, so that it is always the client who closes first; at most 255 for Bun.
 */
export const CLIENT_IDLE_SECONDS = 150;

/**
 * How often the idle timer of a client connection is wound up while the sandbox is awaited, in milliseconds: so a
 * quiet stream lives, and the connection still has an idle timer when the stream is over.
 */
const REARM_INTERVAL_MS = 30_000;

/** The time limits of an exchange, in milliseconds. */
export interface TimeLimits {
  /** `--connect-timeout`. */
  readonly connectTimeoutMs: number;
  /** `--response-timeout`; 0: none. */
  readonly responseTimeoutMs: number;
  /** `--stream-idle-timeout`; 0: none. */
  readonly streamIdleTimeoutMs: number;
  /** `--client-idle-timeout`; 0: none. */
  readonly clientIdleTimeoutMs: number;
}

/**
 * What the kernel says of the connections to an address and port of a sandbox: one stands at least, all wait for the other side,
 * there are none, or it does not tell.
 */
export type ConnectionState = "established" | "connecting" | "none" | "unknown";

export interface WatchdogSeams {
  readonly clock: Clock;
  /** Winds up the idle timer of the client connection that `request` came over. */
  rearm(request: Request): void;
  /** What the kernel says of connections to an address (without brackets) and port. Never rejects. */
  connectionState(address: string, port: number): Promise<ConnectionState>;
  /** Called at the end of each sweep with the monotonic time, for others who need a slow clock. */
  onSweep(nowMs: number): void;
}

/** Watches over everything open: one sweep instead of a timer for each request. */
export class Watchdog {
  readonly #register: ExchangeRegister;
  readonly #limits: TimeLimits;
  readonly #seams: WatchdogSeams;
  /** Exchanges about which the kernel is being asked. */
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
    // While the client is awaited Bun's idle timer runs down: it ends clients that neither send nor read.
    if (now - exchange.rearmedAt < REARM_INTERVAL_MS || !isSandboxAwaited(exchange)) return;
    exchange.rearmedAt = now;
    this.#seams.rearm(exchange.subject.request);
  }

  /** The limits of each state: why an exchange must end now, or undefined. */
  #overdue(exchange: Exchange, now: number): IngressError | undefined {
    const { responseTimeoutMs, streamIdleTimeoutMs, clientIdleTimeoutMs } = this.#limits;
    const isOver = (limitMs: number, since: number): boolean => limitMs > 0 && now - since >= limitMs;
    switch (exchange.state) {
      case "held": {
        const { patience } = exchange;
        return patience !== undefined && now >= patience.untilMs ? patience.error : undefined;
      }
      case "receiving":
        return isOver(clientIdleTimeoutMs, exchange.subject.startedAt) ? new IngressError("client_timeout") : undefined;
      case "connecting":
      case "waiting": {
        const { upload } = exchange;
        if (upload !== undefined && upload.turn === "source" && isOver(clientIdleTimeoutMs, upload.since)) {
          return new IngressError("client_timeout");
        }
        if (exchange.headAt !== undefined) return undefined; // The answer is being collected, which has its own limit.
        if (isOver(responseTimeoutMs, exchange.sentAt)) return new IngressError("upstream_timeout");
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
   * `fetch` does not tell connecting from waiting, so the kernel is asked. A request is only cut where no connection to its
   * address and port stands: one that stands may be its own, and a busy server may take long to answer.
   */
  #lookAtConnection(exchange: Exchange, now: number): void {
    const { dialled } = exchange;
    // A name that does not resolve has a limit of its own.
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
      exchange.cut(new IngressError("internal", undefined, { cause: thrown }));
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

/** Whether the sandbox's next byte, or its next read, is what the exchange waits for. */
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
