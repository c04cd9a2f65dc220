import { IngressError } from "../../errors.ts";
import { limitFor } from "../../sandbox/policy.ts";
import type { Departures } from "./departures.ts";
import type { ExchangeRegister } from "./register.ts";
import { type ExchangeShare, isFairRequest } from "./share.ts";

/** The flags that limit how much is open at a time. Both count requests and WebSockets; 0: no limit. */
export interface AdmissionLimits {
  /** `--max-requests`. */
  readonly maxRequests: number;
  /** `--max-requests-per-sandbox`. */
  readonly maxRequestsPerSandbox: number;
}

/** One more exchange that would like to begin. */
export interface AdmissionRequest {
  readonly sandbox: ExchangeShare;
  /** Undefined: many clients share the address. */
  readonly client: ExchangeShare | undefined;
  /** The annotation `max-requests` of the sandbox; undefined: it has none. */
  readonly ownMax: number | undefined;
  /** Monotonic ms when the request came in. */
  readonly nowMs: number;
}

/** Decides whether one more exchange may begin. */
export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #register: ExchangeRegister;
  readonly #departures: Departures;
  readonly #isMemoryShort: (asked: AdmissionRequest) => boolean;

  constructor(
    limits: AdmissionLimits,
    parts: {
      readonly register: ExchangeRegister;
      readonly departures: Departures;
      readonly isMemoryShort: (asked: AdmissionRequest) => boolean;
    },
  ) {
    this.#limits = limits;
    this.#register = parts.register;
    this.#departures = parts.departures;
    this.#isMemoryShort = parts.isMemoryShort;
  }

  /**
   * Throws `too_many_requests`, `too_many_requests_sandbox`, `too_many_requests_client` or `memory_short` if one more
   * exchange would exceed a limit or a fair share.
   */
  check(asked: AdmissionRequest): void {
    if (this.#refusal(asked) === undefined) return;
    // Some counted exchanges may have ended since the last check.
    this.#departures.sweep();
    const refusal = this.#refusal(asked);
    if (refusal !== undefined) throw new IngressError(refusal);
  }

  #refusal(asked: AdmissionRequest) {
    const { sandbox, client, ownMax } = asked;
    const { maxRequests, maxRequestsPerSandbox } = this.#limits;
    const maxOfSandbox = limitFor(maxRequestsPerSandbox, ownMax);
    if (maxOfSandbox > 0 && sandbox.requests >= maxOfSandbox) return "too_many_requests_sandbox";
    if (maxRequests > 0) {
      const free = maxRequests - this.#register.size;
      if (free <= 0) return "too_many_requests";
      if (!isFairRequest(sandbox.requests, free)) return "too_many_requests_sandbox";
      if (client !== undefined && !isFairRequest(client.requests, free)) return "too_many_requests_client";
    }
    return this.#isMemoryShort(asked) ? "memory_short" : undefined;
  }
}
