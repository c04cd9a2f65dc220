import { trimBlanks } from "../values.ts";

/** The trace that a request belongs to, as its sender says (W3C Trace Context §3.2). */
export interface ParentContext {
  /** 32 lower-case hexadecimal digits, not all zero. */
  readonly traceId: string;
  /** 16 lower-case hexadecimal digits, not all zero: the sender's span. */
  readonly spanId: string;
  readonly isSampled: boolean;
}

export const TRACE_PARENT_HEADER = "traceparent";
export const TRACE_STATE_HEADER = "tracestate";

/** Characters of a `traceparent` of version 00 (§3.2.2). */
const TRACE_PARENT_LENGTH = 55;
/**
 * The longest `traceparent` that is read, in characters. Later versions may append fields (§3.2.4); none does yet. The
 * limit keeps a hostile client from making a recorded span hold a large header.
 */
const TRACE_PARENT_MAX_LENGTH = 256;

const TRACE_PARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-|$)/;
const ZEROS = /^0+$/;
/** Not a version (§3.2.2.1). */
const FORBIDDEN_VERSION = "ff";
const SAMPLED_BIT = 1;

/**
 * Reads a `traceparent`; undefined: it is missing or invalid, so a new trace begins. Two fields arrive joined by a
 * comma, which is invalid.
 */
export function parseTraceParent(text: string | undefined): ParentContext | undefined {
  if (text === undefined || text.length < TRACE_PARENT_LENGTH || text.length > TRACE_PARENT_MAX_LENGTH) {
    return undefined;
  }
  const match = TRACE_PARENT.exec(text);
  if (match === null) return undefined;
  const [, version = "", traceId = "", spanId = "", flags = ""] = match;
  if (version === FORBIDDEN_VERSION || (version === "00" && text.length !== TRACE_PARENT_LENGTH)) return undefined;
  if (ZEROS.test(traceId) || ZEROS.test(spanId)) return undefined;
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & SAMPLED_BIT) !== 0 };
}

/** A `traceparent` of version 00. All flags but the sampled one are zero (§3.2.2.5). */
export function formatTraceParent(traceId: string, spanId: string, flags: "00" | "01"): string {
  return `00-${traceId}-${spanId}-${flags}`;
}

/** Members of a `tracestate` (§3.3.1.1). */
const TRACE_STATE_MEMBERS_MAX = 32;
/** Characters of a key and of a value (§3.3.1.3). */
const TRACE_STATE_PART_MAX_LENGTH = 256;
/**
 * Characters of the longest `tracestate` whose members keep the limits above, with a comma and a space after each.
 * Empty members and more space around the commas count, too.
 */
const TRACE_STATE_MAX_LENGTH = TRACE_STATE_MEMBERS_MAX * (2 * TRACE_STATE_PART_MAX_LENGTH + "=, ".length);

const SIMPLE_KEY = "[a-z][a-z0-9_\\-*/]{0,255}";
const TENANT_KEY = "[a-z0-9][a-z0-9_\\-*/]{0,240}@[a-z][a-z0-9_\\-*/]{0,13}";
/** Visible characters and spaces without comma and equals sign; the last one is not a space. */
const VALUE = "[\\x20-\\x2b\\x2d-\\x3c\\x3e-\\x7e]{0,255}[\\x21-\\x2b\\x2d-\\x3c\\x3e-\\x7e]";
const TRACE_STATE_MEMBER = new RegExp(`^(?:${SIMPLE_KEY}|${TENANT_KEY})=${VALUE}$`);

/**
 * Whether a `tracestate` is valid (§3.3.1). Empty members are. One that is invalid or too long is not passed on: the
 * whole of it may be dropped (§3.3.1.1, §3.3.1.5).
 */
export function isTraceState(text: string): boolean {
  if (text.length > TRACE_STATE_MAX_LENGTH) return false;
  let members = 0;
  for (const part of text.split(",")) {
    const member = trimBlanks(part);
    if (member === "") continue;
    if (++members > TRACE_STATE_MEMBERS_MAX || !TRACE_STATE_MEMBER.test(member)) return false;
  }
  return true;
}
