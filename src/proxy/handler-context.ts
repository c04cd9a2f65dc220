import type { Server } from "bun";

import type { AccessChecker, Admission as AccessAdmission } from "../access/request.ts";
import type { Clock } from "../clock.ts";
import type { ProxyMetrics } from "../metrics/metrics.ts";
import type { RenewPublisher } from "../renew/publisher.ts";
import type { Route, RouteMode } from "../route/route.ts";
import type { SandboxProvider, SandboxRecord } from "../sandbox/provider.ts";
import type { BrowserAnswers } from "./browser/browser-answers.ts";
import type { CorsPolicy } from "./browser/cors.ts";
import type { BrowserConfig } from "./browser/view.ts";
import type { Admission } from "./exchange/admission.ts";
import type { Exchange, ExchangeObserver } from "./exchange/exchange.ts";
import type { ExchangeRegister } from "./exchange/register.ts";
import type { Holds } from "./hold/holds.ts";
import type { ForwardContext } from "./http/forward.ts";
import type { RequestReport } from "./report/report.ts";
import type { ClientAddress, ResolveClientAddress } from "./request/client-address.ts";
import type { HeaderSnapshot } from "./request/headers.ts";
import type { TakeRequestId } from "./request/request-id.ts";
import type { UnreadBodies } from "./request/unread-body.ts";
import type { UpstreamPool } from "./upstream/upstream.ts";
import type { WebSocketContext } from "./websocket/handshake.ts";
import type { TunnelData } from "./websocket/tunnel.ts";

/** What the handler works with. Everything in here outlives a request. */
export interface HandlerContext {
  readonly mode: RouteMode;
  readonly browser: BrowserConfig;
  /** Undefined: `--cors-origins` is off. */
  readonly cors: CorsPolicy | undefined;
  readonly browserAnswers: BrowserAnswers;
  readonly resolveClientAddress: ResolveClientAddress;
  /** `--max-body-size`, bytes; 0: no limit. */
  readonly maxBodyBytes: number;
  readonly clock: Clock;
  readonly metrics: ProxyMetrics;
  readonly provider: SandboxProvider;
  readonly access: AccessChecker;
  readonly renew: RenewPublisher;
  readonly upstreams: UpstreamPool;
  readonly register: ExchangeRegister;
  readonly admission: Admission;
  readonly holds: Holds;
  readonly observer: ExchangeObserver;
  readonly report: RequestReport;
  readonly takeRequestId: TakeRequestId;
  readonly unreadBodies: UnreadBodies;
  readonly forward: ForwardContext;
  readonly websocket: WebSocketContext;
  /** Whether an answer is to be the last of its connection, whatever its client asked for. */
  readonly closesConnections: () => boolean;
  /** Undefined once the list of sandboxes is known, else a promise that waits for it and throws why it is not. */
  readonly ensureSynced: () => Promise<void> | undefined;
}

/** What is known of a request so far; a refusal reports it. */
export interface Progress {
  readonly startedAt: number;
  readonly requestId: string;
  isUpgrade: boolean;
  /** Whether it has been on its way to its sandbox: until then it is no use of it. */
  isForwarded: boolean;
  /** The headers as the client sent them. */
  seen: HeaderSnapshot | undefined;
  /** The sandbox, as it was known last. */
  record: SandboxRecord | undefined;
  admission: AccessAdmission | undefined;
  address: ClientAddress | undefined;
  route: Route | undefined;
  exchange: Exchange | undefined;
}

/** A request on its way through the handler. */
export interface Visit {
  readonly request: Request;
  readonly server: Server<TunnelData>;
  readonly progress: Progress;
}
