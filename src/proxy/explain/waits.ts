import type { IngressError } from "../../errors.ts";
import { toIngressError } from "../../errors.ts";
import type { SandboxRecord } from "../../sandbox/provider.ts";
import { notReadyError } from "../hold/hold-room.ts";
import type { Holds, WaitForecast } from "../hold/holds.ts";
import { describeCause } from "../report/describe-cause.ts";

const MS_PER_SECOND = 1_000;

/** How a request would wait for its sandbox before it is forwarded. */
export interface ExplainedWait {
  /** As in `WaitForecast`. */
  readonly kind: WaitForecast["kind"];
  /** The longest wait, in milliseconds. After it the request is refused. */
  readonly upToMs: number;
  /** The verdict in words. It begins with `would`. */
  readonly text: string;
}

/** What would become of a request whose sandbox is not ready. */
export interface WaitOutlook {
  /** Undefined: it is refused at once. */
  readonly wait: ExplainedWait | undefined;
  /** The refusal at once, or the one when the wait ends without the sandbox. */
  readonly error: IngressError;
  /** For an operator, each without a full stop. */
  readonly remarks: readonly string[];
}

/** A request of somebody who has access. */
interface Waiter {
  readonly method: string;
  readonly headers: Headers;
  /** As it would be forwarded. */
  readonly path: string;
  readonly purpose: string | undefined;
}

/**
 * Says whether a request would wait for its sandbox, or wake it, and why not. Wakes nobody.
 * @param holds Undefined: this process does not serve requests.
 * @param waiter Undefined: it has no access, so it neither waits nor wakes.
 */
export function foreseeWait(record: SandboxRecord, holds: Holds | undefined, waiter: Waiter | undefined): WaitOutlook {
  const error = notReadyError(record);
  if (holds === undefined) {
    const remarks = ["only a running ingress knows whether a request waits for it or wakes it"];
    return { wait: undefined, error, remarks };
  }
  const against = waiter === undefined ? undefined : holds.reasonAgainstWake(record, waiter);
  const { held, isWaking } = holds.countersOf(record);
  const remarks: string[] = [];
  if (held > 0) remarks.push(`requests that wait now: ${held}`);
  if (isWaking) remarks.push("the sandbox is being woken");
  if (against !== undefined && record.sleep !== undefined) remarks.push(`the request does not wake it: ${against}`);
  if (waiter === undefined) return { wait: undefined, error, remarks };
  try {
    const forecast = holds.foresee(waiter, record, { wakes: against === undefined });
    const cause = describeCause(forecast.cause);
    const all = [describeForecast(forecast), ...(cause === undefined ? [] : [cause]), ...remarks];
    return { wait: toWait(forecast), error, remarks: all };
  } catch (thrown) {
    const refusal = toIngressError(thrown);
    const why = refusal.code === error.code ? describeCause(refusal) : (describeCause(refusal) ?? refusal.message);
    return { wait: undefined, error: refusal, remarks: why === undefined ? remarks : [why, ...remarks] };
  }
}

function describeForecast({ kind, upToMs, isNavigation }: WaitForecast): string {
  const what = {
    held: "a request waits",
    joins: "a request joins its wake and waits",
    wakes: "a request wakes it and waits",
  }[kind];
  const end = isNavigation ? "until a browser shows a page that reloads itself" : "before it is refused";
  return `${what} for up to ${formatSeconds(upToMs)} ${end}`;
}

function toWait({ kind, upToMs }: WaitForecast): ExplainedWait {
  const span = `for up to ${formatSeconds(upToMs)}`;
  const text = {
    held: `would be held ${span}, and forwarded once the sandbox is ready`,
    joins: `would be held ${span} while the sandbox is woken, and then forwarded`,
    wakes: `would wake the sandbox, be held ${span}, and then be forwarded`,
  }[kind];
  return { kind, upToMs: Math.round(upToMs), text };
}

function formatSeconds(ms: number): string {
  return `${Math.round(ms / 100) / (MS_PER_SECOND / 100)} s`;
}
