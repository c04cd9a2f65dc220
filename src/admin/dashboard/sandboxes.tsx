import type { SandboxPage } from "../sandbox-list.ts";
import type { SandboxSort } from "../sandbox-query.ts";
import { formatCount } from "./format.ts";
import { usePoll } from "./poll.ts";
import { ALL, type Filter, formatPath, SandboxFilter } from "./sandbox-filter.tsx";
import { SandboxRows } from "./sandbox-rows.tsx";
import { useEffect, useRef, useState } from "./ui.ts";

const INTERVAL_MS = 2_000;
/** Rows of a page: as many as a screen and a person can take, however many the ingress knows. */
const PAGE_ROWS = 25;
/** Time between the last key and the search, in milliseconds. */
const TYPING_MS = 150;

/** The list of sandboxes, page by page: the ingress searches, sorts and counts. */
export function Sandboxes(props: { readonly now: number; readonly onExplain: (route: string) => void }) {
  const [filter, setFilter] = useState(ALL);
  const settled = useSettled(filter, TYPING_MS);
  const [cursors, setCursors] = useState<readonly string[]>([]);
  const path = formatPath(settled, { cursor: cursors.at(-1) ?? "", limit: PAGE_ROWS });
  const { value, path: shownPath, fault } = usePoll<SandboxPage>(path, INTERVAL_MS);
  const change = (part: Partial<Filter>): void => {
    setFilter({ ...filter, ...part });
    setCursors([]);
  };
  const sortBy = (sort: SandboxSort): void => {
    const rises = sort === "name" || sort === "state";
    const turned = filter.order === "asc" ? "desc" : "asc";
    change({ sort, order: filter.sort === sort ? turned : rises ? "asc" : "desc" });
  };
  return (
    <section class="card" aria-labelledby="sandboxes-title">
      <h2 id="sandboxes-title">Sandboxes</h2>
      <SandboxFilter filter={filter} onChange={change} onSort={sortBy} />
      {fault === "" ? null : <p class="fault">{fault}</p>}
      <SandboxRows rows={value?.sandboxes} now={props.now} order={filter} onSort={sortBy} onExplain={props.onExplain} />
      <Pager
        page={value}
        isCurrent={shownPath === path && settled === filter}
        at={cursors.length}
        onBack={() => setCursors(cursors.slice(0, -1))}
        onNext={(next) => setCursors([...cursors, next])}
      />
      <Announcement page={value} path={shownPath} />
    </section>
  );
}

function Pager(props: {
  readonly page: SandboxPage | undefined;
  /** Whether the rows answer the current question. Cursors belong to one question. */
  readonly isCurrent: boolean;
  readonly at: number;
  readonly onBack: () => void;
  readonly onNext: (next: string) => void;
}) {
  const { page, at, isCurrent, onBack, onNext } = props;
  if (page === undefined) return null;
  const first = at * PAGE_ROWS;
  const { length } = page.sandboxes;
  const range = length === 0 ? "none" : `${formatCount(first + 1)} to ${formatCount(first + length)}`;
  const { next } = page;
  const canGoOn = isCurrent && next !== undefined;
  // Disabled buttons would lose the focus for users who page by keyboard.
  return (
    <nav class="pager" aria-label="Pages of sandboxes">
      <button type="button" aria-disabled={at === 0} onClick={() => (at === 0 ? undefined : onBack())}>
        Previous
      </button>
      <button type="button" aria-disabled={!canGoOn} onClick={() => (canGoOn ? onNext(next) : undefined)}>
        Next
      </button>
      <span id="range">{isCurrent ? `${range} of ${formatCount(page.matched)}` : "loading"}</span>
    </nav>
  );
}

/** Tells a screen reader how many sandboxes match, once for each question and not at each poll. */
function Announcement({ page, path }: { readonly page: SandboxPage | undefined; readonly path: string }) {
  const [text, setText] = useState("");
  const announced = useRef("");
  useEffect(() => {
    if (page === undefined || announced.current === path) return;
    announced.current = path;
    setText(`${formatCount(page.matched)} sandboxes match`);
  }, [page, path]);
  return (
    <p class="hidden" role="status">
      {text}
    </p>
  );
}

/** The value after it has stayed the same for a while. */
function useSettled<T>(value: T, ms: number): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return settled;
}
