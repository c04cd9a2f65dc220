import { type CounterCell, type HistogramCell, HistogramCells, type HistogramSpec } from "./cells.ts";
import type { ProxyType, RouteFormLabel } from "./proxy-metrics.ts";

/** The methods of RFC 9110 and RFC 5789; all others, which anyone may invent, are counted together. */
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"] as const;
const FORMS: readonly RouteFormLabel[] = ["header", "host", "uri", "none"];
const PROXY_TYPES: readonly ProxyType[] = ["http", "websocket"];
export const OTHER = "_OTHER";

const STATUS_MIN = 100;
const STATUS_MAX = 599;
/** Stands for a status out of range, or one too many. */
const STATUS_OTHER = 0;
/**
 * Series that requests may make; a usual ingress has some dozens. A sandbox chooses the status of its answers, and one that
 * tries them all must not make every scrape megabytes long: beyond this, new ones are counted as `_OTHER`.
 */
const SERIES_MAX = 1_000;

interface RequestCell extends CounterCell {
  readonly duration: HistogramCell;
}

/** Requests by method, status, route form and proxy type: count and duration. One look-up for each request. */
export class RequestCells {
  readonly durations: HistogramCells<number>;
  readonly #cells = new Map<number, RequestCell>();
  readonly #methods = new Map<string, number>(METHODS.map((method, index) => [method, index]));

  constructor(duration: HistogramSpec) {
    // The reference's labels: without the route form.
    this.durations = new HistogramCells(duration, (key) => labelsOf(key));
  }

  record(method: string, status: number, form: RouteFormLabel, options: { type: ProxyType; durationMs: number }): void {
    const methodIndex = this.#methods.get(method) ?? METHODS.length;
    const exact = status >= STATUS_MIN && status <= STATUS_MAX ? status : STATUS_OTHER;
    const typeIndex = options.type === "websocket" ? 1 : 0;
    const key = buildKey(methodIndex, exact, typeIndex);
    const formIndex = FORMS.indexOf(form);
    const cell = this.#cells.get(key * FORMS.length + formIndex) ?? this.#create(key, formIndex);
    cell.value += 1;
    cell.duration.record(options.durationMs);
  }

  counts(): Iterable<CounterCell> {
    return this.#cells.values();
  }

  #create(key: number, formIndex: number): RequestCell {
    const bounded = this.#cells.size < SERIES_MAX ? key : withoutStatus(key);
    const cellKey = bounded * FORMS.length + formIndex;
    const known = this.#cells.get(cellKey);
    if (known !== undefined) return known;
    const { proxy_type, ...labels } = labelsOf(bounded);
    const cell: RequestCell = {
      labels: { ...labels, route_form: FORMS[formIndex] ?? "none", proxy_type },
      duration: this.durations.at(bounded),
      value: 0,
    };
    this.#cells.set(cellKey, cell);
    return cell;
  }
}

const STATUSES = STATUS_MAX + 1;

function buildKey(methodIndex: number, status: number, typeIndex: number): number {
  return (methodIndex * STATUSES + status) * PROXY_TYPES.length + typeIndex;
}

function withoutStatus(key: number): number {
  const methodIndex = Math.floor(key / PROXY_TYPES.length / STATUSES);
  return buildKey(methodIndex, STATUS_OTHER, key % PROXY_TYPES.length);
}

function labelsOf(key: number) {
  const methodAndStatus = Math.floor(key / PROXY_TYPES.length);
  const status = methodAndStatus % STATUSES;
  return {
    http_method: METHODS[Math.floor(methodAndStatus / STATUSES)] ?? OTHER,
    http_status_code: status === STATUS_OTHER ? OTHER : status,
    proxy_type: PROXY_TYPES[key % PROXY_TYPES.length] ?? "http",
  };
}
