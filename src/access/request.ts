import type { Route } from "../route/route.ts";
import type { Attempt } from "./failure-limiter.ts";
import type { SecretDigest } from "./secret-digest.ts";

/** One request as the access table sees it (docs/contract.md §3). */
export interface AccessRequest extends Attempt {
  readonly route: Route;
  /** The sandbox's secure access token. Empty: the sandbox is open. */
  readonly accessToken: string;
  /** The value of `OpenSandbox-Secure-Access`; null if the header is missing. */
  readonly presentedToken: string | null;
  /** Wall-clock milliseconds. */
  readonly nowMs: number;
}

/**
 * What admitted a request. It is kept as long as the admitted connection is open. It contains neither token nor key:
 * the digests are salted, so no other checker can use them.
 */
export type AccessGrant =
  | { readonly kind: "open" }
  /** The client showed the sandbox's token. */
  | { readonly kind: "token"; readonly tokenDigest: SecretDigest }
  /** A signed route. The signature depends only on route and key, so it stays valid while the key stays the same. */
  | {
      readonly kind: "signature";
      readonly keyId: string;
      readonly keyDigest: SecretDigest;
      /** As in `RouteSignature`. */
      readonly expiresB36: string;
    };

/** A request that may pass. */
export interface Admission {
  /** The path to forward. */
  readonly path: string;
  readonly grant: AccessGrant;
}

/** What `isStillGranted` compares a grant with. */
export interface AccessState {
  /** The sandbox's current secure access token. Empty: the sandbox is open. */
  readonly accessToken: string;
  /** Wall-clock milliseconds. */
  readonly nowMs: number;
}

/** Checks access. This is the proxy's view of the room. */
export interface AccessChecker {
  /** Throws IngressError with the codes of the access table. */
  check(request: AccessRequest): Admission;
  /**
   * Whether an admitted connection may continue. False if the sandbox is no longer open, if its token has changed, if
   * the key of the signed route was removed or changed, and, with `--end-at-expiry`, if that route has expired. An open
   * sandbox allows everything. Takes at most a microsecond: one hash for a token, none for a signed route.
   */
  isStillGranted(grant: AccessGrant, state: AccessState): boolean;
}
