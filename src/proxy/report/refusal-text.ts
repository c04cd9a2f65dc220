import { answerSpecOf, type IngressErrorCode } from "../../errors.ts";

/** The code that a client may see. Refusals that must look equal share one. */
export function publicCodeOf(code: IngressErrorCode): string {
  return answerSpecOf(code).publicCode ?? code;
}

/** The title of a code, with a capital. `port` undefined: the title that all refusals with this code share. */
export function titleOf(code: IngressErrorCode, port: number | undefined): string {
  const { title, message } = answerSpecOf(code);
  const text = title ?? message;
  return fillPort(text.charAt(0).toUpperCase() + text.slice(1), port);
}

/** Puts a port into a text of the table. Undefined: the text is about ports in general, with 3000 as the example. */
export function fillPort(text: string, port: number | undefined): string {
  const named = port === undefined ? "the port" : `port ${port}`;
  return text.replaceAll("{port}", named).replaceAll("{number}", String(port ?? 3000));
}
