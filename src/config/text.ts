import { printable } from "../log/printable.ts";
import { messageOf } from "../values.ts";

/** The message of any thrown value, for a fault on the command line: in one line, harmless to a terminal. */
export function faultTextOf(thrown: unknown): string {
  return printable(messageOf(thrown));
}
