import type { AccessChecker } from "../../access/request.ts";
import type { Clock } from "../../clock.ts";
import { IngressError } from "../../errors.ts";
import type { SandboxProvider } from "../../sandbox/provider.ts";
import type { ExchangeRegister } from "./register.ts";

/**
 * How often open exchanges are checked against the current credentials, in milliseconds. An exchange ends within a
 * minute after the token or key that admitted it has changed. Each check of 10,000 open exchanges takes about 10 ms.
 */
const GRANT_CHECK_INTERVAL_MS = 10_000;

/** Ends exchanges whose credential has changed or was withdrawn (OSEP-0011). */
export class GrantCheck {
  readonly #register: ExchangeRegister;
  readonly #parts: { readonly access: AccessChecker; readonly provider: SandboxProvider; readonly clock: Clock };
  #checkedAt = 0;

  constructor(
    register: ExchangeRegister,
    parts: { readonly access: AccessChecker; readonly provider: SandboxProvider; readonly clock: Clock },
  ) {
    this.#register = register;
    this.#parts = parts;
  }

  /** @param nowMs Monotonic. */
  sweep(nowMs: number): void {
    if (nowMs - this.#checkedAt < GRANT_CHECK_INTERVAL_MS) return;
    this.#checkedAt = nowMs;
    const { access, provider, clock } = this.#parts;
    const wallMs = clock.now();
    for (const exchange of this.#register) {
      exchange.guard(() => {
        const { namespace, name, uid } = exchange.upstream;
        // By name, since a sandbox with the same name in another namespace must not keep alive what a changed token
        // must end. If the sandbox is gone or replaced, its exchanges end with its generation.
        const record = provider.view.find(namespace, name);
        // A sandbox that is gone or another ends its exchanges with its generation.
        if (record === undefined || record.uid !== uid) return;
        const { accessToken } = record;
        if (access.isStillGranted(exchange.subject.grant, { accessToken, nowMs: wallMs })) return;
        exchange.cut(new IngressError("access_revoked"));
      });
    }
  }
}
