import { formatSpan, UNKNOWN } from "./format.ts";
import type { ComponentChildren } from "./ui.ts";

/** A table that scrolls sideways on its own where the screen is narrow; the keyboard reaches it. */
export function Table(props: {
  readonly label: string;
  readonly children: ComponentChildren;
  readonly style?: string;
}) {
  const { label, children, style = "" } = props;
  return (
    <div class="scroll" role="group" aria-label={`${label}, table`} tabIndex={0}>
      <table role="table" class={style}>
        {children}
      </table>
    </div>
  );
}

/** How long ago something was. */
export function Ago(props: { readonly time: string | undefined; readonly now: number; readonly isAtLeast?: boolean }) {
  const { time, now, isAtLeast = false } = props;
  if (time === undefined) return <>{UNKNOWN}</>;
  return (
    <time dateTime={time} title={time}>
      {isAtLeast ? "≥ " : ""}
      {formatSpan(now - Date.parse(time))}
    </time>
  );
}
