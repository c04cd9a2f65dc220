import type { Status } from "../status.ts";
import { formatCount } from "./format.ts";

type History = Status["traffic"]["history"];

/** Seconds that are shown. */
const SECONDS = 60;
/** The picture's own units; the style stretches it. */
const BAR = 4;
const GAP = 1;
const HEIGHT = 40;

/** A bar for each second, the newest at the right; the failed part of it in another colour, from the ground up. */
export function Chart({ history }: { readonly history: History }) {
  const most = Math.max(1, ...history.map(({ requests }) => requests));
  const failed = history.reduce((sum, second) => sum + second.failed, 0);
  const label = `Requests in each of the last ${SECONDS} seconds: at most ${formatCount(
    Math.max(0, ...history.map(({ requests }) => requests)),
  )}; ${formatCount(failed)} failed in all`;
  const bars = (read: (second: History[number]) => number): string => drawBars(history.map(read), most);
  return (
    <svg
      class="chart"
      role="img"
      aria-label={label}
      viewBox={`0 0 ${SECONDS * BAR} ${HEIGHT}`}
      preserveAspectRatio="none"
    >
      <path class="ground" d={`M0 ${HEIGHT - 0.5}h${SECONDS * BAR}`} />
      <path class="requests" d={bars(({ requests }) => requests)} />
      <path class="failed" d={bars((second) => second.failed)} />
    </svg>
  );
}

function drawBars(values: readonly number[], most: number): string {
  const first = SECONDS - values.length;
  return values
    .map((value, at) => {
      if (value <= 0) return "";
      const height = Math.max(1, (value / most) * HEIGHT);
      return `M${(first + at) * BAR} ${HEIGHT}v${-height}h${BAR - GAP}v${height}z`;
    })
    .join("");
}
