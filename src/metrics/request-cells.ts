import { type CounterCell, type HistogramCell, HistogramCells, type HistogramSpec } from "./cells.ts";
import type { ProxyType } from "./proxy-metrics.ts";
import type { RouteFormLabel } from "../route/route.ts";

/** Stands for a method or status outside the sets below. */
export const OTHER = "_OTHER";

/** The methods of RFC 9110 and RFC 5789. Anyone can invent others, so these count together. */
const METHODS: ReadonlySet<string> = new Set([
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "PATCH",
  "DELETE",
  "OPTIONS",
  "CONNECT",
  "TRACE",
]);

/**
 * The statuses with their own series: those of the ingress itself, and those that operators look for. A sandbox chooses
 * its statuses freely, so all others count by class (`2xx`). The set of labels is therefore fixed and small, and no
 * traffic can displace another series.
 */
const STATUSES: ReadonlySet<number> = new Set([
  101, 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 408, 409, 410, 413, 422, 426,
  429, 499, 500, 501, 502, 503, 504, 508,
]);
const STATUS_CLASSES = ["1xx", "2xx", "3xx", "4xx", "5xx"] as const;

/** A status as a label. */
type StatusLabel = number | string;

interface RequestCell extends CounterCell {
  readonly duration: HistogramCell;
}

/** Route form → proxy type → method → status. */
type CellsByForm = Map<RouteFormLabel, Map<ProxyType, Map<string, Map<StatusLabel, RequestCell>>>>;

/**
 * Requests by method, status, route form and proxy type: count and duration. There are at most 10 methods, 37 statuses,
 * 4 forms and 2 types. A mode has two or three forms, and only a GET can be a WebSocket's, so there are at most about
 * 1,200 series of counts.
 */
export class RequestCells {
  readonly durations: HistogramCells<string>;
  readonly #cells: CellsByForm = new Map();
  readonly #all: RequestCell[] = [];

  constructor(duration: HistogramSpec) {
    // The Go ingress's labels, without the route form.
    this.durations = new HistogramCells(duration, durationLabels);
  }

  record(method: string, status: number, form: RouteFormLabel, options: { type: ProxyType; durationMs: number }): void {
    const { type, durationMs } = options;
    const methodLabel = METHODS.has(method) ? method : OTHER;
    const statusLabel = toStatusLabel(status);
    const cell =
      this.#cells.get(form)?.get(type)?.get(methodLabel)?.get(statusLabel) ??
      this.#create(methodLabel, statusLabel, form, type);
    cell.value += 1;
    cell.duration.record(durationMs);
  }

  counts(): Iterable<CounterCell> {
    return this.#all;
  }

  #create(method: string, status: StatusLabel, form: RouteFormLabel, type: ProxyType): RequestCell {
    const cell: RequestCell = {
      labels: { http_method: method, http_status_code: status, route_form: form, proxy_type: type },
      duration: this.durations.at(`${method} ${status} ${type}`),
      value: 0,
    };
    this.#all.push(cell);
    childOf(childOf(childOf(this.#cells, form), type), method).set(status, cell);
    return cell;
  }
}

function toStatusLabel(status: number): StatusLabel {
  return STATUSES.has(status) ? status : (STATUS_CLASSES[Math.floor(status / 100) - 1] ?? OTHER);
}

/** The labels of a key of `durations`: method, status and type. */
function durationLabels(key: string) {
  const [http_method = "", status = "", proxy_type = ""] = key.split(" ");
  return { http_method, http_status_code: /^\d+$/.test(status) ? Number(status) : status, proxy_type };
}

/** The map below a key, created if it is missing. */
function childOf<K, L, V>(parent: Map<K, Map<L, V>>, key: K): Map<L, V> {
  let child = parent.get(key);
  if (child === undefined) {
    child = new Map();
    parent.set(key, child);
  }
  return child;
}
