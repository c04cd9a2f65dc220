import type { AccessGrant } from "../../access/request.ts";
import type { IngressError } from "../../errors.ts";
import type { SandboxUse } from "../../renew/publisher.ts";
import type { Route } from "../../route/route.ts";
import type { RequestTrace } from "../../traces/request-trace.ts";
import type { SandboxPolicy } from "../../sandbox/policy.ts";
import type { BrowserView } from "../browser/view.ts";
import type { Door } from "../request/door.ts";

/**
 * The state of an exchange. It moves down this list, but goes back to `held` when a port refused the connection:
 * - `held`: it waits for its sandbox to become ready, or before another attempt. Nothing of its body is read.
 * - `receiving`: a small body of the request is read completely. The ingress waits for the client.
 * - `connecting`: the request is handed on. It is unknown whether a connection to the sandbox is open.
 * - `waiting`: a connection is open. The sandbox has not begun its answer.
 * - `streaming`: the head of the answer is on its way to the client.
 * - `tunnel`: the client has been upgraded to a WebSocket.
 * - `leaving`: Bun has the whole answer. As far as Bun tells, its last byte has not left yet.
 * - `ended`.
 */
export type ExchangeState =
  "held" | "receiving" | "connecting" | "waiting" | "streaming" | "tunnel" | "leaving" | "ended";

/** How an exchange ended: the status that the client got, and the error. */
export interface ExchangeOutcome {
  readonly status: number;
  /** The refusal or failure; undefined: the sandbox's answer was delivered whole. */
  readonly error: IngressError | undefined;
}

/** The request of an exchange and what was decided about it. */
export interface ExchangeSubject {
  readonly request: Request;
  readonly route: Route;
  /** The path that is forwarded, without the query. */
  readonly path: string;
  /** Empty, or begins with `?`. */
  readonly query: string;
  /** Bytes of the request's body; 0: no body; undefined: the body is chunked. */
  readonly bodyLength: number | undefined;
  /** `host:port` of the sandbox, as its record names it. */
  readonly hostPort: string;
  /** How client and sandbox each see the application's address. */
  readonly browser: BrowserView;
  readonly clientAddress: string;
  readonly door: Door;
  /** Whether the client asks for a WebSocket. */
  readonly isUpgrade: boolean;
  /** The sandbox, the client and the log all get it. */
  readonly requestId: string;
  /** Whether the client sent `Connection: close`: the answer says so, too (RFC 9112 §9.6), and Bun closes. */
  readonly isLast: boolean;
  /** What is reported while the request uses the sandbox (OSEP-0009); undefined: nothing is reported. */
  readonly use: SandboxUse | undefined;
  /** What admitted the request. It is checked again while the request is open. */
  readonly grant: AccessGrant;
  /** The annotations of the sandbox when the request was admitted. A later change does not affect it. */
  readonly policy?: SandboxPolicy | undefined;
  /** Monotonic milliseconds when the request came in. */
  readonly startedAt: number;
  /** Undefined: traces are off. */
  readonly trace: RequestTrace | undefined;
}
