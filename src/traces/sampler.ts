import type { ParentContext } from "./trace-context.ts";
import type { SamplerConfig } from "./traces-config.ts";

/** A request whose fate is to be decided. */
export interface SamplingQuestion {
  /** Undefined: the request begins a trace. */
  readonly parent: ParentContext | undefined;
  /** Whether the peer that named the parent is trusted. */
  readonly isTrusted: boolean;
  readonly traceId: string;
  /** The new span's id, which nobody but us has chosen. */
  readonly spanId: string;
}

/** Hexadecimal digits of an id that are compared with the ratio: as many as a number holds exactly. */
const COMPARED_DIGITS = 13;
const COMPARED_VALUES = 16 ** COMPARED_DIGITS;
/** Where the half of a trace id begins that is random in every known implementation. */
const RANDOM_HALF_AT = 16;

/**
 * Whether a request is recorded, as `traceidratio` and `parentbased_…` of the OpenTelemetry specification have it. The
 * flag of an untrusted client does not count, and its trace id decides nothing either: a client could choose one that is
 * always recorded. Our own span id takes its place.
 */
export function isSampled({ ratio, isParentBased }: SamplerConfig, question: SamplingQuestion): boolean {
  const { parent, isTrusted } = question;
  if (isParentBased && isTrusted && parent !== undefined) return parent.isSampled;
  const digits = parent !== undefined && !isTrusted ? question.spanId : question.traceId.slice(RANDOM_HALF_AT);
  return Number.parseInt(digits.slice(0, COMPARED_DIGITS), 16) / COMPARED_VALUES < ratio;
}
