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

/** What the annotations of one sandbox set for its traffic. A missing field leaves the flag's value. */
export interface SandboxPolicy {
  readonly hostHeader?: HostHeaderMode;
  readonly originHeader?: OriginHeaderMode;
  readonly uriPrefix?: UriPrefixMode;
  /** `hold-until-ready`, milliseconds: how long a request may wait for this sandbox; 0: not at all. */
  readonly holdMs?: number;
  /** `wake-on-access`: whether a request wakes this sandbox where `--wake-enabled` is on. */
  readonly wakesOnAccess?: boolean;
}
