import type { Clock } from "../../clock.ts";
import type { IngressError } from "../../errors.ts";
import { type AccessEntry, type AccessLogger, isFailure } from "./access-log.ts";
import type { FailureList } from "./failure-list.ts";
import type { ProxyMetrics } from "../../metrics/metrics.ts";
import type { Route } from "../../route/route.ts";
import { describeCause } from "./describe-cause.ts";
import type { Exchange, ExchangeObserver, ExchangeOutcome } from "../exchange/exchange.ts";
import { connectResultOf } from "../upstream/errors.ts";

/** Told of a request that the ingress answered itself. Requests that became an exchange are told by its observer. */
export interface RequestReport {
  onRefused(request: Request, refusal: Refusal): void;
}

/** A request that never became an exchange. */
export interface Refusal {
  readonly error: IngressError;
  readonly route: Route | undefined;
  readonly clientAddress: string;
  readonly requestId: string;
  /** Monotonic milliseconds. */
  readonly startedAt: number;
  readonly isUpgrade: boolean;
}

/** What a report needs from the program. */
export interface ReportContext {
  readonly clock: Clock;
  readonly metrics: ProxyMetrics;
  readonly accessLog: AccessLogger;
  readonly failures: FailureList;
  /** Called when bytes have moved. */
  onActivity(exchange: Exchange): void;
  /** Called when an exchange is cut whose answer waits in Bun's buffers. */
  onCutWhileLeaving(exchange: Exchange): void;
}

/** Tells log and metrics how requests end: both those that were forwarded and those that were refused. */
export function createReport(context: ReportContext): ExchangeObserver & RequestReport {
  const { clock, metrics, accessLog } = context;

  return {
    onActivity: (exchange) => context.onActivity(exchange),
    onCutWhileLeaving: (exchange) => context.onCutWhileLeaving(exchange),

    onEnd(exchange, outcome) {
      const { request, route, startedAt } = exchange.subject;
      const isTunnel = exchange.subject.isUpgrade;
      const now = clock.monotonic();
      const durationMs = now - startedAt;
      const isFailed = isFailure(outcome.status, outcome.error?.code);
      exchange.upstream.tally.note(now, isFailed ? 1 : 0);
      metrics.requestEnded(request.method, outcome.status, route.form, isTunnel ? "websocket" : "http", durationMs);
      countFailure(exchange, outcome);
      if (!isFailed && !accessLog.wants(outcome.status, outcome.error?.code)) return;
      log(isFailed, {
        method: request.method,
        form: route.form,
        sandboxId: route.sandboxId,
        port: route.port,
        status: outcome.status,
        code: outcome.error?.code,
        bytesIn: exchange.bytesIn,
        bytesOut: exchange.bytesOut,
        durationMs,
        upstreamMs: exchange.headAt === undefined ? undefined : exchange.headAt - startedAt,
        requestId: exchange.subject.requestId,
        clientAddress: exchange.subject.clientAddress,
        cause: describeCause(outcome.error),
        tunnel: isTunnel ? true : undefined,
        closeCode: exchange.closeCode,
      });
    },

    onRefused(request, refusal) {
      const { error, route, clientAddress } = refusal;
      const durationMs = clock.monotonic() - refusal.startedAt;
      const proxyType = refusal.isUpgrade ? "websocket" : "http";
      metrics.requestStarted();
      metrics.requestEnded(request.method, error.status, route?.form ?? "none", proxyType, durationMs);
      metrics.refused(error.code);
      log(isFailure(error.status, error.code), {
        method: request.method,
        form: route?.form ?? "none",
        sandboxId: route?.sandboxId,
        port: route?.port,
        status: error.status,
        code: error.code,
        durationMs,
        requestId: refusal.requestId,
        clientAddress,
        cause: describeCause(error),
      });
    },
  };

  function log(isFailed: boolean, entry: AccessEntry): void {
    if (isFailed) context.failures.add(entry);
    accessLog.log(entry);
  }

  function countFailure(exchange: Exchange, { error }: ExchangeOutcome): void {
    if (error === undefined) return;
    metrics.refused(error.code);
    // A tunnel's dial is counted where it happens; fetch shows only the connects that failed.
    const result = connectResultOf(error.code);
    if (result === undefined || exchange.headAt !== undefined || exchange.subject.isUpgrade) return;
    metrics.connected(result, "http", clock.monotonic() - exchange.subject.startedAt);
  }
}
