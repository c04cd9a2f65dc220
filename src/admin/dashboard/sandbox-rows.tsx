import type { SandboxRow } from "../sandbox-list.ts";
import type { SandboxSort } from "../sandbox-query.ts";
import { formatCount, shorten } from "./format.ts";
import { Ago, Table } from "./table.tsx";

const REASON_MAX_CHARS = 200;
/** All annotations of a policy begin with it, so the list leaves it out. */
const ANNOTATION_START = "ingress.opensandbox.io/";
/** Asked about where the sandbox names no port of its own. */
const USUAL_PORT = 8080;

export const COLUMNS: readonly { readonly title: string; readonly sort?: SandboxSort; readonly isNumber?: boolean }[] =
  [
    { title: "Sandbox", sort: "name" },
    { title: "State", sort: "state" },
    { title: "Namespace" },
    { title: "Since", sort: "since" },
    { title: "Last use", sort: "last-use" },
    { title: "Open", sort: "open", isNumber: true },
    { title: "Errors", sort: "errors", isNumber: true },
  ];

const STATES: Readonly<Record<SandboxRow["state"], { readonly text: string; readonly tone: string }>> = {
  ready: { text: "ready", tone: "good" },
  "not-ready": { text: "not ready", tone: "warn" },
  ambiguous: { text: "ambiguous", tone: "bad" },
};

interface SandboxRowsProps {
  readonly rows: readonly SandboxRow[] | undefined;
  readonly now: number;
  readonly order: { readonly sort: SandboxSort; readonly order: "asc" | "desc" };
  readonly onSort: (sort: SandboxSort) => void;
  readonly onExplain: (route: string) => void;
}

export function SandboxRows({ rows, now, order, onSort, onExplain }: SandboxRowsProps) {
  return (
    <Table label="Sandboxes" style="cards">
      <thead role="rowgroup">
        <tr role="row">
          {COLUMNS.map((column) => (
            <Column key={column.title} column={column} order={order} onSort={onSort} />
          ))}
          <th role="columnheader" scope="col">
            <span class="hidden">Explain</span>
          </th>
        </tr>
      </thead>
      <tbody id="rows" role="rowgroup">
        {(rows ?? []).map((row) => (
          <Row key={`${row.namespace}/${row.id}`} row={row} now={now} onExplain={onExplain} />
        ))}
        {rows?.length === 0 ? (
          <tr role="row">
            <td role="cell" colSpan={COLUMNS.length + 1} class="dim">
              No sandbox matches.
            </td>
          </tr>
        ) : null}
      </tbody>
    </Table>
  );
}

function Column(props: {
  readonly column: (typeof COLUMNS)[number];
  readonly order: SandboxRowsProps["order"];
  readonly onSort: SandboxRowsProps["onSort"];
}) {
  const { title, sort, isNumber = false } = props.column;
  const style = isNumber ? "number" : "";
  if (sort === undefined) {
    return (
      <th role="columnheader" scope="col">
        {title}
      </th>
    );
  }
  const isSorted = props.order.sort === sort;
  const direction = props.order.order === "asc" ? "ascending" : "descending";
  return (
    <th role="columnheader" scope="col" class={style} aria-sort={isSorted ? direction : "none"}>
      <button type="button" class="sort" data-sort={sort} onClick={() => props.onSort(sort)}>
        {title}
        <span aria-hidden="true" class="arrow">
          {isSorted ? (direction === "ascending" ? "▲" : "▼") : ""}
        </span>
      </button>
    </th>
  );
}

function Row(props: {
  readonly row: SandboxRow;
  readonly now: number;
  readonly onExplain: SandboxRowsProps["onExplain"];
}) {
  const { row, now, onExplain } = props;
  const { text, tone } = STATES[row.state];
  return (
    <tr role="row" data-id={row.id}>
      <th role="rowheader" scope="row" class="name">
        {row.id}
        {row.secured ? <span class="note"> secured</span> : null}
      </th>
      <td role="cell" class="text">
        <span class={`badge ${tone}`}>{text}</span> {shorten(reasonOf(row), REASON_MAX_CHARS)}
        {row.policyFault === undefined ? null : <PolicyFault text={row.policyFault} />}
      </td>
      <td role="cell" data-label="Namespace">
        {row.namespace}
      </td>
      <td role="cell" data-label="Since">
        <Ago time={row.since} now={now} isAtLeast={row.sinceAtLeast === true} />
      </td>
      <td role="cell" data-label="Last use">
        {row.open !== undefined && row.open > 0 ? "now" : <Ago time={row.lastUse} now={now} />}
      </td>
      <td role="cell" data-label="Open" class="number">
        {formatCount(row.open)}
      </td>
      <td role="cell" data-label="Errors" class={row.errors ? "number some" : "number"}>
        {formatCount(row.errors)}
        {row.requests ? <span class="note"> of {formatCount(row.requests)}</span> : null}
      </td>
      <td role="cell" class="action">
        <button type="button" aria-label={`Explain ${row.id}`} onClick={() => onExplain(routeOf(row))}>
          Explain
        </button>
      </td>
    </tr>
  );
}

/** On a line of its own, since a sandbox can be ready and still refuse all traffic. */
function PolicyFault({ text }: { readonly text: string }) {
  return (
    <div>
      <span class="badge bad">policy</span> {shorten(text.replaceAll(ANNOTATION_START, ""), REASON_MAX_CHARS)}
    </div>
  );
}

/** Without what the row says already: the state and the name. */
function reasonOf({ id, reason = "" }: SandboxRow): string {
  const start = `sandbox not ready: sandbox ${id} `;
  const rest = reason.startsWith(start) ? reason.slice(start.length) : reason;
  return /^not ready \((.*)\)$/s.exec(rest)?.[1] ?? rest;
}

function routeOf({ id, ports }: SandboxRow): string {
  return `${id}-${ports?.[0]?.port ?? USUAL_PORT}`;
}
