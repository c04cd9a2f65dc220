import type { Rate } from "../quantity.ts";

/** What a sandbox sees as its Host: `--host-header` and the annotation `host-header`. */
export const HOST_HEADER_MODES = ["upstream", "preserve", "localhost"] as const;
export type HostHeaderMode = (typeof HOST_HEADER_MODES)[number];

/** What a sandbox sees as the Origin of its own pages: `--origin-header` and the annotation `origin-header`. */
export const ORIGIN_HEADER_MODES = ["preserve", "upstream"] as const;
export type OriginHeaderMode = (typeof ORIGIN_HEADER_MODES)[number];

/** Whether the prefix of the URI form is removed from the path: `--uri-prefix` and the annotation `uri-prefix`. */
export const URI_PREFIX_MODES = ["strip", "keep"] as const;
export type UriPrefixMode = (typeof URI_PREFIX_MODES)[number];

/**
 * The longest time that a request may be held for one sandbox, in milliseconds: longer than any image is pulled for, and less
 * than clients and load balancers wait.
 */
export const HOLD_TIME_MAX_MS = 600_000;

/** What one annotation allows. */
export interface AllowList<T> {
  has(value: T): boolean;
}

/** Stands for an annotation whose value cannot be read. It must not open what somebody wanted to guard. */
export const NOTHING_ALLOWED: AllowList<never> = Object.freeze({ has: () => false });

/** What the annotations of one sandbox set for its traffic. A missing field leaves the flag's value. */
export interface SandboxPolicy {
  readonly hostHeader?: HostHeaderMode;
  readonly originHeader?: OriginHeaderMode;
  readonly uriPrefix?: UriPrefixMode;
  /** `hold-until-ready`, milliseconds: how long a request may wait for this sandbox; 0: not at all. */
  readonly holdMs?: number;
  /** `wake-on-access`: whether a request wakes this sandbox where `--wake-enabled` is on. */
  readonly wakesOnAccess?: boolean;
  /** `allowed-ports`. Missing: all. */
  readonly allowedPorts?: AllowList<number>;
  /** `allowed-methods`. Missing: all that the ingress forwards. */
  readonly allowedMethods?: AllowList<string>;
  /** `allowed-origins`: which values of `Origin` a request may have; one without `Origin` may come. Missing: all. */
  readonly allowedOrigins?: AllowList<string>;
  /** `client-cidrs`: canonical addresses of clients. Missing: all. */
  readonly allowedClients?: AllowList<string>;
  /** `max-requests`, at least 1. */
  readonly maxRequests?: number;
  /** `rate`. */
  readonly rate?: Rate;
  /** `max-body-size`: bytes, at least 1. */
  readonly maxBodyBytes?: number;
  /** `response-timeout`: milliseconds, at least 1. */
  readonly responseTimeoutMs?: number;
  /** `stream-idle-timeout`: milliseconds, at least 1. */
  readonly streamIdleTimeoutMs?: number;
  /** What is wrong with the annotations, for operators; missing: nothing. */
  readonly fault?: string;
}

/**
 * The limit for one sandbox: what its annotation says, but no more than the flag.
 * @param flag 0: no limit.
 * @returns 0: no limit.
 */
export function limitFor(flag: number, own: number | undefined): number {
  if (own === undefined) return flag;
  return flag === 0 ? own : Math.min(flag, own);
}
