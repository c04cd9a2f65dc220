import { IngressError } from "../../errors.ts";

/**
 * The field that counts the passes of a request through this ingress (RFC 8586). It is not `Via`, since nginx does not
 * compress answers to requests with `Via` (`gzip_proxied` is off by default).
 */
export const LOOP_HEADER = "cdn-loop";

/** The name of the ingress in this field: a pseudonym in the grammar of RFC 8586 §2. */
const LOOP_NAME = "opensandbox-ingress";

/**
 * How many passes one request may make. One is normal. An application in a sandbox may itself be a proxy that calls
 * another sandbox through the ingress. More than two such calls in a row count as a loop.
 */
const PASSES_MAX = 3;

/**
 * Throws `loop_detected` for a request that has passed through an ingress of this kind `PASSES_MAX` times.
 * @param field Its `CDN-Loop`.
 */
export function checkLoop(field: string | undefined): void {
  if (field !== undefined && countPasses(field) >= PASSES_MAX) throw new IngressError("loop_detected");
}

/** The field for the sandbox: the existing value stays, and this pass is added behind it (RFC 8586 §2). */
export function addPass(field: string | undefined): string {
  return field === undefined || field.trim() === "" ? LOOP_NAME : `${field}, ${LOOP_NAME}`;
}

/**
 * How often the name of the ingress is in the field, in any case and with any parameters; at most `PASSES_MAX`.
 *
 * A comma ends an element even within quotes. Otherwise an open quotation mark would hide everything that the ingress
 * appends. Linear in the field's length.
 */
export function countPasses(field: string): number {
  const text = field.toLowerCase();
  let passes = 0;
  let at = text.indexOf(LOOP_NAME);
  while (at >= 0 && passes < PASSES_MAX) {
    const end = at + LOOP_NAME.length;
    if (beginsElement(text, at) && endsId(text, end)) passes++;
    at = text.indexOf(LOOP_NAME, end);
  }
  return passes;
}

/** Whether only white space is between a comma, or the beginning, and `at`. */
function beginsElement(text: string, at: number): boolean {
  let before = at - 1;
  while (before >= 0 && isBlank(text.charCodeAt(before))) before--;
  return before < 0 || text.charCodeAt(before) === COMMA;
}

/** Whether the id ends at `end`: the next element, a parameter or nothing follows. */
function endsId(text: string, end: number): boolean {
  let after = end;
  while (after < text.length && isBlank(text.charCodeAt(after))) after++;
  const code = text.charCodeAt(after);
  return after === text.length || code === COMMA || code === SEMICOLON;
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

const COMMA = 0x2c;
const SEMICOLON = 0x3b;
