import type { Clock } from "../../clock.ts";
import type { IngressError } from "../../errors.ts";
import type { AccessLogger } from "./access-log.ts";
import type { ProxyMetrics } from "../../metrics/metrics.ts";
import type { Route } from "../../route/route.ts";
import { describeCause } from "./describe-cause.ts";
import type { Exchange, ExchangeObserver, ExchangeOutcome } from "../exchange/exchange.ts";
import { connectResultOf } from "../upstream/errors.ts";

/** Told of a request that the ingress answered itself. Requests that became an exchange are told by its observer. */
export interface RequestReport {
  onRefused(request: Request, refusal: Refusal): void;
  /** The answer is no refusal: a redirect, or what a preflight asks for. */
  onAnswered(request: Request, answer: OwnAnswer): void;
}

/** A request that never became an exchange. */
interface Unforwarded {
  readonly route: Route | undefined;
  readonly clientAddress: string;
  readonly requestId: string;
  /** Monotonic milliseconds. */
  readonly startedAt: number;
  readonly isUpgrade: boolean;
}

export interface Refusal extends Unforwarded {
  readonly error: IngressError;
}

export interface OwnAnswer extends Unforwarded {
  readonly status: number;
}

/** What a report needs from the program. */
export interface ReportContext {
  readonly clock: Clock;
  readonly metrics: ProxyMetrics;
  readonly accessLog: AccessLogger;
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
      const durationMs = clock.monotonic() - startedAt;
      metrics.requestEnded(request.method, outcome.status, route.form, isTunnel ? "websocket" : "http", durationMs);
      countFailure(exchange, outcome);
      if (!accessLog.wants(outcome.status, outcome.error?.code)) return;
      accessLog.log({
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
      metrics.refused(refusal.error.code);
      tellUnforwarded(request, refusal, { status: refusal.error.status, error: refusal.error });
    },

    onAnswered: (request, answer) => tellUnforwarded(request, answer, { status: answer.status, error: undefined }),
  };

  function tellUnforwarded(request: Request, ended: Unforwarded, { status, error }: ExchangeOutcome): void {
    const { route, clientAddress, requestId } = ended;
    const durationMs = clock.monotonic() - ended.startedAt;
    const proxyType = ended.isUpgrade ? "websocket" : "http";
    metrics.requestStarted();
    metrics.requestEnded(request.method, status, route?.form ?? "none", proxyType, durationMs);
    if (!accessLog.wants(status, error?.code)) return;
    accessLog.log({
      method: request.method,
      form: route?.form ?? "none",
      sandboxId: route?.sandboxId,
      port: route?.port,
      status,
      code: error?.code,
      durationMs,
      requestId,
      clientAddress,
      cause: describeCause(error),
    });
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
