import type { Route } from "../route/route.ts";
import type { Attempt } from "./failure-limiter.ts";
import type { SecretDigest } from "./secret-digest.ts";

/** What the access table needs to know of one request (docs/contract.md §3). */
export interface AccessRequest extends Attempt {
  readonly route: Route;
  /** The sandbox's secure access token; an empty token means an open sandbox. */
  readonly accessToken: string;
  /** The value of `OpenSandbox-Secure-Access`; null when the header is absent. */
  readonly presentedToken: string | null;
  /** Wall-clock milliseconds. */
  readonly nowMs: number;
}

/**
 * What admitted a request; kept as long as what it admitted is open. Carries neither token nor key: the digests are
 * salted, and mean nothing to any other checker.
 */
export type AccessGrant =
  /** The sandbox was open. */
  | { readonly kind: "open" }
  /** The sandbox's token. */
  | { readonly kind: "token"; readonly tokenDigest: SecretDigest }
  /** A signed route. A signature is a function of route and key, so it verifies again while the key is the same. */
  | {
      readonly kind: "signature";
      readonly keyId: string;
      readonly keyDigest: SecretDigest;
      /** As `RouteSignature` has it. */
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
  /** The secure access token that the sandbox has now; empty: it is open. */
  readonly accessToken: string;
  /** Wall-clock milliseconds. */
  readonly nowMs: number;
}

/** Checks access; the proxy's view of this folder. */
export interface AccessChecker {
  /** Throws IngressError with the codes of the access table. */
  check(request: AccessRequest): Admission;
  /**
   * Whether what was admitted may go on. False when the sandbox is not open any more, when its token is another, when the
   * key of the signed route was removed or changed, and, with `--end-at-expiry`, when that route has expired. An open
   * sandbox grants everything. Costs a microsecond at most: one hash for a token, none for a signed route.
   */
  isStillGranted(grant: AccessGrant, state: AccessState): boolean;
}
