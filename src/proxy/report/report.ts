import type { Clock } from "../../clock.ts";
import { type IngressError, toInternalError } from "../../errors.ts";
import { type AccessEntry, type AccessLogger, isFailure } from "./access-log.ts";
import type { FailureList } from "./failure-list.ts";
import type { ProxyMetrics } from "../../metrics/metrics.ts";
import type { Route } from "../../route/route.ts";
import type { RequestTrace, TraceOutcome } from "../../traces/request-trace.ts";
import { describeCause } from "./describe-cause.ts";
import type { Exchange, ExchangeObserver } from "../exchange/exchange.ts";
import type { ExchangeOutcome, ExchangeSubject } from "../exchange/exchange-subject.ts";
import type { NetworkReadiness } from "../upstream/network-readiness.ts";
import { connectResultOf } from "../upstream/errors.ts";

/**
 * Is told about requests that the ingress answered itself, and about upgrades. For requests that became an exchange,
 * its observer is told.
 */
export interface RequestReport {
  onRefused(request: Request, refusal: Refusal): void;
  /** The answer is not a refusal: it is a redirect or the answer to a preflight. */
  onAnswered(request: Request, answer: OwnAnswer): void;
  /** The client of an exchange has been upgraded to a WebSocket. */
  onUpgraded(exchange: Exchange): void;
}

/** A request that never became an exchange. */
interface Unforwarded {
  readonly route: Route | undefined;
  readonly clientAddress: string;
  readonly requestId: string;
  /** Monotonic milliseconds. */
  readonly startedAt: number;
  readonly isUpgrade: boolean;
  /** Undefined: traces are off. */
  readonly trace: RequestTrace | undefined;
}

export interface Refusal extends Unforwarded {
  readonly error: IngressError;
}

export interface OwnAnswer extends Unforwarded {
  readonly status: number;
}

/** The status of an upgrade (RFC 9110 §15.2.2). */
const SWITCHING_PROTOCOLS = 101;

/** What a report needs from the program. */
export interface ReportContext {
  readonly clock: Clock;
  readonly metrics: ProxyMetrics;
  readonly accessLog: AccessLogger;
  readonly failures: FailureList;
  readonly networkReadiness: NetworkReadiness | undefined;
  /** Called when bytes have moved. */
  onActivity(exchange: Exchange): void;
  /** Called when an exchange is cut while its client does not read the answer. */
  onCutUnread(exchange: Exchange): void;
}

/**
 * Reports to log and metrics how requests end, both forwarded and refused ones. If either throws, only that request
 * becomes `internal`.
 */
export function createReport(context: ReportContext): ExchangeObserver & RequestReport {
  const { clock, metrics, accessLog } = context;

  return {
    onActivity: (exchange) => context.onActivity(exchange),
    onCutUnread: (exchange) => context.onCutUnread(exchange),

    onHead: (exchange, afterMs) => metrics.answered(exchange.subject.isUpgrade ? "websocket" : "http", afterMs),

    onEnd(exchange, outcome) {
      const { request, route, startedAt } = exchange.subject;
      const isTunnel = exchange.subject.isUpgrade;
      const now = clock.monotonic();
      const durationMs = now - startedAt;
      const { status } = outcome;
      let { error } = outcome;
      try {
        if (exchange.isForwarded) exchange.upstream.tally.note(now, isFailure(status, error?.code) ? 1 : 0);
        const type = isTunnel ? "websocket" : "http";
        metrics.requestEnded(request.method, status, route.form, type, durationMs);
        metrics.moved(type, { in: exchange.bytesIn, out: exchange.bytesOut });
        countFailure(exchange, outcome);
        const isReached = exchange.headAt !== undefined;
        context.networkReadiness?.note(exchange.upstream.uid, { isReached, code: error?.code });
      } catch (thrown) {
        error = toInternalError(thrown);
      }
      endTrace(exchange.subject, { status, isFromSandbox: exchange.hasBegun, code: error?.code });
      tell(status, error, () => describeExchange(exchange, { status, error, durationMs }));
    },

    onRefused(request, refusal) {
      tellUnforwarded(request, refusal, { status: refusal.error.status, error: refusal.error });
    },

    onAnswered: (request, answer) => tellUnforwarded(request, answer, { status: answer.status, error: undefined }),

    // With the upgrade the exchange of HTTP messages is over. A tunnel may stay open for days. Its span would reach the
    // collector long after all others of its trace, or never, and would spoil every percentile. Log and metrics tell
    // how tunnels end.
    onUpgraded: (exchange) =>
      endTrace(exchange.subject, { status: SWITCHING_PROTOCOLS, isFromSandbox: true, code: undefined }),
  };

  /** The first call for a request counts. */
  function endTrace(
    { trace, request, route }: Pick<ExchangeSubject, "trace" | "request"> & { readonly route: Route | undefined },
    ended: Pick<TraceOutcome, "status" | "isFromSandbox" | "code">,
  ): void {
    if (trace?.isRecorded !== true) return;
    try {
      trace.end({ ...ended, method: request.method, route, endedAt: clock.monotonic() });
    } catch {
      countInternal();
    }
  }

  /** Writes the line of a request. If that throws, the metric still counts it. */
  function tell(status: number, error: IngressError | undefined, gather: () => AccessEntry): void {
    try {
      const isFailed = isFailure(status, error?.code);
      if (!isFailed && !accessLog.wants(status, error?.code)) return;
      const entry = gather();
      if (isFailed) context.failures.add(entry);
      accessLog.log(entry);
    } catch {
      countInternal();
    }
  }

  function countInternal(): void {
    try {
      metrics.refused("internal");
    } catch {
      // Neither the log nor the metrics can tell.
    }
  }

  function tellUnforwarded(request: Request, ended: Unforwarded, { status, error }: ExchangeOutcome): void {
    const { route, clientAddress, requestId } = ended;
    const durationMs = clock.monotonic() - ended.startedAt;
    const proxyType = ended.isUpgrade ? "websocket" : "http";
    let told = error;
    try {
      metrics.requestStarted();
      metrics.requestEnded(request.method, status, route?.form ?? "none", proxyType, durationMs);
      if (error !== undefined) metrics.refused(error.code);
    } catch (thrown) {
      told = toInternalError(thrown);
    }
    endTrace({ trace: ended.trace, request, route }, { status, isFromSandbox: false, code: told?.code });
    tell(status, told, () => ({
      method: request.method,
      form: route?.form ?? "none",
      sandboxId: route?.sandboxId,
      port: route?.port,
      status,
      code: told?.code,
      durationMs,
      requestId,
      clientAddress,
      cause: describeCause(told),
    }));
  }

  function countFailure(exchange: Exchange, { error }: ExchangeOutcome): void {
    if (error === undefined) return;
    metrics.refused(error.code);
    if (error.code === "memory_exceeded") metrics.endedForMemory();
    // The dial of a tunnel is counted elsewhere. fetch only reveals connections that failed.
    const result = connectResultOf(error.code);
    if (result === undefined || exchange.headAt !== undefined || exchange.subject.isUpgrade) return;
    metrics.connected(result, "http", clock.monotonic() - exchange.subject.startedAt);
  }
}

function describeExchange(exchange: Exchange, end: ExchangeOutcome & { readonly durationMs: number }): AccessEntry {
  const { request, route, startedAt, requestId, clientAddress, isUpgrade } = exchange.subject;
  const { status, error, durationMs } = end;
  return {
    method: request.method,
    form: route.form,
    sandboxId: route.sandboxId,
    port: route.port,
    status,
    code: error?.code,
    bytesIn: exchange.bytesIn,
    bytesOut: exchange.bytesOut,
    durationMs,
    upstreamMs: exchange.headAt === undefined ? undefined : exchange.headAt - startedAt,
    requestId,
    clientAddress,
    cause: describeCause(error),
    tunnel: isUpgrade ? true : undefined,
    closeCode: exchange.closeCode,
  };
}
