import type { Server } from "bun";

import type { AccessChecker, Admission as AccessAdmission } from "../access/request.ts";
import type { Clock } from "../clock.ts";
import type { ProxyMetrics } from "../metrics/metrics.ts";
import type { RenewPublisher } from "../renew/publisher.ts";
import type { Route, RouteMode } from "../route/route.ts";
import type { SandboxProvider, SandboxRecord } from "../sandbox/provider.ts";
import type { RequestTrace } from "../traces/request-trace.ts";
import type { Tracer } from "../traces/tracer.ts";
import type { BrowserAnswers } from "./browser/browser-answers.ts";
import type { CorsPolicy } from "./browser/cors.ts";
import type { BrowserConfig } from "./browser/view.ts";
import type { Admission } from "./exchange/admission.ts";
import type { Exchange, ExchangeObserver } from "./exchange/exchange.ts";
import type { PolicyGate } from "./exchange/policy-gate.ts";
import type { ExchangeRegister } from "./exchange/register.ts";
import type { Holds } from "./hold/holds.ts";
import type { ForwardContext } from "./http/forward.ts";
import type { RequestReport } from "./report/report.ts";
import type { ClientAddress, ResolveClientAddress } from "./request/client-address.ts";
import type { Door } from "./request/door.ts";
import type { HeaderSnapshot } from "./request/headers.ts";
import type { TakeRequestId } from "./request/request-id.ts";
import type { UnreadBodies } from "./request/unread-body.ts";
import type { NetworkReadiness } from "./upstream/network-readiness.ts";
import type { UpstreamPool } from "./upstream/upstream.ts";
import type { WebSocketContext } from "./websocket/handshake.ts";
import type { TunnelData } from "./websocket/tunnel.ts";

/** The parts that the handler uses. All of them outlive a request. */
export interface HandlerContext {
  readonly mode: RouteMode;
  readonly browser: BrowserConfig;
  /** Undefined: `--cors-origins` is off. */
  readonly cors: CorsPolicy | undefined;
  readonly browserAnswers: BrowserAnswers;
  readonly resolveClientAddress: ResolveClientAddress;
  /** `--http2`: whether requests may come over HTTP/2. */
  readonly http2: boolean;
  /** `--max-body-size`, bytes; 0: no limit. */
  readonly maxBodyBytes: number;
  readonly clock: Clock;
  readonly metrics: ProxyMetrics;
  /** Undefined: traces are off, and trace headers pass unchanged. */
  readonly tracer: Tracer | undefined;
  readonly provider: SandboxProvider;
  readonly access: AccessChecker;
  readonly renew: RenewPublisher;
  readonly upstreams: UpstreamPool;
  readonly register: ExchangeRegister;
  readonly admission: Admission;
  readonly policies: PolicyGate;
  readonly holds: Holds;
  /** Undefined: there is no such page. */
  readonly networkReadiness: NetworkReadiness | undefined;
  readonly observer: ExchangeObserver;
  readonly report: RequestReport;
  readonly takeRequestId: TakeRequestId;
  readonly unreadBodies: UnreadBodies;
  readonly forward: ForwardContext;
  readonly websocket: WebSocketContext;
  /** Whether every answer must close its connection, whatever its client asked for. */
  readonly closesConnections: () => boolean;
  /**
   * Undefined once the list of sandboxes is known. Before that, a promise that waits for the list and rejects with the
   * reason if it does not arrive.
   */
  readonly ensureSynced: () => Promise<void> | undefined;
}

/** What is known about a request so far. A refusal reports it. */
export interface Progress {
  readonly startedAt: number;
  readonly requestId: string;
  readonly door: Door;
  isUpgrade: boolean;
  /** The headers as the client sent them. */
  readonly seen: HeaderSnapshot;
  /** The last known record of the sandbox. */
  record: SandboxRecord | undefined;
  admission: AccessAdmission | undefined;
  address: ClientAddress | undefined;
  route: Route | undefined;
  exchange: Exchange | undefined;
  /** Whether it has waited: for the list of sandboxes, or for its sandbox. */
  hasWaited: boolean;
  /** Undefined: traces are off. */
  trace: RequestTrace | undefined;
}

/** A request on its way through the handler. */
export interface Visit {
  readonly request: Request;
  readonly server: Server<TunnelData>;
  readonly progress: Progress;
}
