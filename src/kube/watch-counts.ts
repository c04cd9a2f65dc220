import type { KubeErrorKind } from "./errors.ts";

/** Why a complete list was made: `initial`, or what ended the watch before it. */
export type ListReason = "initial" | KubeErrorKind;
/** Why a watch ended: `ended` in order, by the server; or a failure, which may also be that it was refused. */
export type WatchEnd = "ended" | KubeErrorKind;

const KINDS: Readonly<Record<KubeErrorKind, 0>> = {
  credentials: 0,
  unreachable: 0,
  unauthorized: 0,
  forbidden: 0,
  missing: 0,
  conflict: 0,
  expired: 0,
  throttled: 0,
  ahead: 0,
  refused: 0,
  server: 0,
  protocol: 0,
  silent: 0,
};

/** Counts what reflectors do, since the start. All reasons are there from the beginning, so a rate sees the first. */
export class WatchCounts {
  readonly lists: Record<ListReason, number> = { initial: 0, ...KINDS };
  readonly watchEnds: Record<WatchEnd, number> = { ended: 0, ...KINDS };

  countList(reason: ListReason): void {
    this.lists[reason] += 1;
  }

  countWatchEnd(reason: WatchEnd): void {
    this.watchEnds[reason] += 1;
  }
}
