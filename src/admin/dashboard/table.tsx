import { formatSpan, UNKNOWN } from "./format.ts";
import type { ComponentChildren } from "./ui.ts";

/** A table that scrolls sideways on its own where the screen is narrow; the keyboard reaches it. */
export function Table({ label, children }: { readonly label: string; readonly children: ComponentChildren }) {
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reached by keyboard
    <div class="scroll" role="group" aria-label={`${label}, table`} tabIndex={0}>
      <table>{children}</table>
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
