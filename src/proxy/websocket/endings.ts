import { IngressError, toIngressError } from "../../errors.ts";
import { CLOSE_CODES, type End } from "./close-codes.ts";

/** A close code for each end of a tunnel. 1006 ends the connection without a Close. */
export type Farewell = Readonly<Record<End, number>>;

/** Why the ingress ends a tunnel, and what it tells both ends. */
export interface Ending {
  readonly error: IngressError;
  readonly farewell: Farewell;
}

/** An end does not answer pings. */
export function deadEnding(dead: End): Ending {
  const error =
    dead === "client"
      ? new IngressError("client_closed", "client does not answer pings")
      : new IngressError("upstream_timeout", "sandbox does not answer pings");
  return { error, farewell: { ...BOTH_GO_AWAY, [dead]: CLOSE_CODES.abnormal } };
}

/** An end sends too many control frames. */
export function floodEnding(from: End): Ending {
  const error = new IngressError("websocket_flood", `too many pings or pongs from the ${from}`);
  return { error, farewell: { ...BOTH_GO_AWAY, [from]: CLOSE_CODES.policy } };
}

/** The memory account refuses what waits. If data waits for the client, a Close would only wait behind it. */
export function memoryEnding(isClientBehind: boolean): Ending {
  const client = isClientBehind ? CLOSE_CODES.abnormal : CLOSE_CODES.tryAgainLater;
  return { error: new IngressError("memory_exceeded"), farewell: { client, sandbox: CLOSE_CODES.abnormal } };
}

/** An error in the ingress itself. */
export function internalEnding(thrown: unknown): Ending {
  const farewell = { client: CLOSE_CODES.internalError, sandbox: CLOSE_CODES.abnormal };
  return { error: toIngressError(thrown), farewell };
}

/** Runs the steps of an ending, whatever they throw. The tunnel is ending already, and only its first error counts. */
export function attemptAll(steps: readonly (() => unknown)[]): void {
  for (const step of steps) {
    try {
      step();
    } catch {
      // The next step must run in any case.
    }
  }
}

const BOTH_GO_AWAY: Farewell = { client: CLOSE_CODES.goingAway, sandbox: CLOSE_CODES.goingAway };
