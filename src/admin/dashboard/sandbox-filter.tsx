import type { SandboxSort } from "../sandbox-query.ts";
import { COLUMNS } from "./sandbox-rows.tsx";

/** The filter of the list. Each change starts at the first page. */
export interface Filter {
  readonly search: string;
  readonly state: string;
  readonly namespace: string;
  readonly sort: SandboxSort;
  readonly order: "asc" | "desc";
}

export const ALL: Filter = { search: "", state: "", namespace: "", sort: "name", order: "asc" };

/** The boxes above the list. */
export function SandboxFilter(props: {
  readonly filter: Filter;
  readonly onChange: (part: Partial<Filter>) => void;
  /** Where the screen is too narrow for the heads of columns. */
  readonly onSort: (sort: SandboxSort) => void;
}) {
  const { filter, onChange: change, onSort: sortBy } = props;
  return (
    <div id="sandboxes" class="controls" role="search" aria-label="Sandboxes" tabIndex={-1}>
      <label class="grow">
        Search
        <input
          id="search"
          type="search"
          placeholder="name, namespace, uid or address"
          maxLength={253}
          spellcheck={false}
          value={filter.search}
          onInput={({ currentTarget }) => change({ search: currentTarget.value })}
        />
      </label>
      <label>
        State
        <select value={filter.state} onChange={({ currentTarget }) => change({ state: currentTarget.value })}>
          <option value="">all</option>
          <option value="ready">ready</option>
          <option value="not-ready">not ready</option>
          <option value="ambiguous">ambiguous</option>
        </select>
      </label>
      <label>
        Namespace
        <input
          type="text"
          placeholder="all"
          maxLength={63}
          spellcheck={false}
          value={filter.namespace}
          onInput={({ currentTarget }) => change({ namespace: currentTarget.value })}
        />
      </label>
      <label class="narrow">
        Sort by
        <select
          value={filter.sort}
          onChange={({ currentTarget }) => {
            const sort = COLUMNS.find((column) => column.sort === currentTarget.value)?.sort;
            if (sort !== undefined) sortBy(sort);
          }}
        >
          {COLUMNS.map(({ title, sort }) =>
            sort === undefined ? null : (
              <option key={sort} value={sort}>
                {title}
              </option>
            ),
          )}
        </select>
      </label>
    </div>
  );
}

/** The question for one page of the list. */
export function formatPath(
  { search, state, namespace, sort, order }: Filter,
  { cursor, limit }: { readonly cursor: string; readonly limit: number },
): string {
  const asked = { q: search, state, namespace, sort, order, limit: String(limit), cursor };
  const given = Object.entries(asked).filter(([, text]) => text !== "");
  return `/debug/sandboxes?${new URLSearchParams(given).toString()}`;
}
