import type { SandboxRow } from "../sandbox-list.ts";
import type { SandboxSort } from "../sandbox-query.ts";
import { formatCount, shorten } from "./format.ts";
import { Ago, Table } from "./table.tsx";

const REASON_MAX_CHARS = 200;
/** Asked about where the sandbox names no port of its own. */
const USUAL_PORT = 8080;

const COLUMNS: readonly { readonly title: string; readonly sort?: SandboxSort; readonly isNumber?: boolean }[] = [
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
    <Table label="Sandboxes">
      <thead>
        <tr>
          {COLUMNS.map((column) => (
            <Column key={column.title} column={column} order={order} onSort={onSort} />
          ))}
          <th scope="col">
            <span class="hidden">Explain</span>
          </th>
        </tr>
      </thead>
      <tbody id="rows">
        {(rows ?? []).map((row) => (
          <Row key={`${row.namespace}/${row.id}`} row={row} now={now} onExplain={onExplain} />
        ))}
        {rows?.length === 0 ? (
          <tr>
            <td colSpan={COLUMNS.length + 1} class="dim">
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
  if (sort === undefined) return <th scope="col">{title}</th>;
  const isSorted = props.order.sort === sort;
  const direction = props.order.order === "asc" ? "ascending" : "descending";
  return (
    <th scope="col" class={style} aria-sort={isSorted ? direction : "none"}>
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
    <tr data-id={row.id}>
      <th scope="row" class="name">
        {row.id}
        {row.secured ? <span class="note"> secured</span> : null}
      </th>
      <td class="text">
        <span class={`badge ${tone}`}>{text}</span>{" "}
        {row.reason === undefined ? "" : shorten(row.reason, REASON_MAX_CHARS)}
      </td>
      <td>{row.namespace}</td>
      <td>
        <Ago time={row.since} now={now} isAtLeast={row.sinceAtLeast === true} />
      </td>
      <td>{row.open !== undefined && row.open > 0 ? "now" : <Ago time={row.lastUse} now={now} />}</td>
      <td class="number">{formatCount(row.open)}</td>
      <td class={row.errors !== undefined && row.errors > 0 ? "number some" : "number"}>
        {formatCount(row.errors)}
        <span class="note"> of {formatCount(row.requests)}</span>
      </td>
      <td>
        <button type="button" aria-label={`Explain ${row.id}`} onClick={() => onExplain(routeOf(row))}>
          Explain
        </button>
      </td>
    </tr>
  );
}

function routeOf({ id, ports }: SandboxRow): string {
  return `${id}-${ports?.[0]?.port ?? USUAL_PORT}`;
}
