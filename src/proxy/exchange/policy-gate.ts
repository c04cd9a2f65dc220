import type { Clock } from "../../clock.ts";
import { IngressError } from "../../errors.ts";
import { lowerRate, type Rate } from "../../quantity.ts";
import type { SandboxRecord } from "../../sandbox/provider.ts";
import { SandboxRates } from "./sandbox-rates.ts";

const MS_PER_SECOND = 1_000;

/** The parts of a request that a sandbox's policy checks. */
export interface GuardedRequest {
  readonly port: number;
  readonly method: string;
  /** `Origin` as the client sent it, before it is rewritten; undefined: missing. */
  readonly origin: string | undefined;
  /** The canonical client address, from trusted proxies. */
  readonly clientAddress: string;
  /** Bytes; undefined: the body is chunked, so it is measured as it comes. */
  readonly bodyLength: number | undefined;
}

/** Decides whether a request may reach its sandbox, by the sandbox's annotations and `--max-rate-per-sandbox`. */
export class PolicyGate {
  readonly #maxRate: Rate | undefined;
  readonly #rates: SandboxRates;

  constructor({ maxRatePerSandbox }: { readonly maxRatePerSandbox: Rate | undefined }, clock: Clock) {
    this.#maxRate = maxRatePerSandbox;
    this.#rates = new SandboxRates(clock);
  }

  /** Whether there is anything to check. Asked for every request. */
  concerns({ policy }: SandboxRecord): boolean {
    return policy !== undefined || this.#maxRate !== undefined;
  }

  /**
   * Throws `port_not_allowed`, `client_not_allowed`, `sandbox_method_not_allowed`, `origin_not_allowed` or
   * `body_too_large`. Counts nothing.
   */
  check({ policy }: SandboxRecord, asked: GuardedRequest): void {
    if (policy === undefined) return;
    const { allowedPorts, allowedClients, allowedMethods, allowedOrigins, maxBodyBytes } = policy;
    const { origin, bodyLength } = asked;
    if (allowedPorts?.has(asked.port) === false) throw new IngressError("port_not_allowed");
    if (allowedClients?.has(asked.clientAddress) === false) throw new IngressError("client_not_allowed");
    if (allowedMethods?.has(asked.method) === false) throw new IngressError("sandbox_method_not_allowed");
    if (origin !== undefined && allowedOrigins?.has(origin) === false) throw new IngressError("origin_not_allowed");
    if (maxBodyBytes !== undefined && bodyLength !== undefined && bodyLength > maxBodyBytes) {
      throw new IngressError("body_too_large");
    }
  }

  /** Throws `rate_exceeded` if the sandbox has used up its rate. Counts nothing. */
  checkRate(record: SandboxRecord): void {
    const rate = this.#rateOf(record);
    const waitMs = rate === undefined ? 0 : this.#rates.waitMs(record.uid, rate);
    if (waitMs === 0) return;
    throw new IngressError("rate_exceeded", undefined, { retryAfterSeconds: Math.ceil(waitMs / MS_PER_SECOND) });
  }

  /** Counts a request that `checkRate` has allowed. Does nothing for a sandbox without a rate. */
  countRequest(record: SandboxRecord): void {
    const rate = this.#rateOf(record);
    if (rate !== undefined) this.#rates.add(record.uid, rate);
  }

  /** The sandbox is gone. */
  forget({ uid }: SandboxRecord): void {
    this.#rates.forget(uid);
  }

  #rateOf({ policy }: SandboxRecord): Rate | undefined {
    return lowerRate(policy?.rate, this.#maxRate);
  }
}
