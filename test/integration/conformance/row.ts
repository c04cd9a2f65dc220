/** What the sandbox must have seen of a forwarded request. What is not given is not compared. */
export interface Forwarded {
  readonly method?: string;
  readonly target?: string;
  readonly body?: string;
  /** Values by lower-cased name; undefined: there must be no such header. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
}

/** One raw request, and the only outcomes that are accepted. */
export interface Row {
  readonly name: string;
  /** RFC and section, or the name under which the technique is known. */
  readonly source: string;
  /** Latin1. `@ROUTE` stands for the line that routes to the sandbox, with its line end. */
  readonly bytes: string;
  /** Whether an answer of 4xx or 5xx by the ingress, or the end of the connection, will do. */
  readonly refused: boolean;
  /** The status of the refusal where it is fixed. */
  readonly status?: number;
  /** What will do as the one request at the sandbox; undefined: nothing may arrive there. */
  readonly forwarded?: Forwarded;
  /** The head may have gone to the sandbox before the fault showed, if the request is visibly cut there. */
  readonly begins?: true;
  /** The fault stands behind the last chunk, where Bun finds it after the body is done: refused, and still forwarded. */
  readonly late?: true;
  /** The request is not whole, so nothing may happen at all. */
  readonly waits?: true;
}

/** The control characters that end no line and are no white space. DEL, which is none of these, is treated apart. */
export const CONTROLS: readonly string[] = Array.from({ length: 0x20 }, (_, code) => String.fromCharCode(code)).filter(
  (char) => !"\t\n\r".includes(char),
);

/** The request as text: `line`, Host, route, the other header lines, an empty line, the body. */
export function build(line: string, headerLines: readonly string[] = [], body = ""): string {
  return `${line}\r\nHost: h.test\r\n@ROUTE${headerLines.map((text) => `${text}\r\n`).join("")}\r\n${body}`;
}

export function refuse(name: string, source: string, bytes: string, status?: number): Row {
  return { name, source, bytes, refused: true, ...(status === undefined ? {} : { status }) };
}

export function forward(name: string, source: string, bytes: string, forwarded: Forwarded = {}): Row {
  return { name, source, bytes, refused: false, forwarded };
}

/** Refused, but only after its head may have been sent on: a streamed body shows its faults late. */
export function cut(name: string, source: string, bytes: string): Row {
  return { name, source, bytes, refused: true, begins: true };
}

/** Where the RFC leaves it open: refused, or forwarded exactly so. */
export function either(name: string, source: string, bytes: string, forwarded: Forwarded): Row {
  return { name, source, bytes, refused: true, begins: true, forwarded };
}

/** A fault behind the last chunk: refused, though the sandbox may have got exactly this. */
export function late(name: string, source: string, bytes: string, forwarded: Forwarded): Row {
  return { name, source, bytes, refused: true, begins: true, late: true, forwarded };
}

/** An unfinished request: the ingress must wait for the rest. */
export function wait(name: string, source: string, bytes: string): Row {
  return { name, source, bytes, refused: false, begins: true, waits: true };
}
