import { IngressError } from "../errors.ts";
import type { Route, RouteSignature } from "../route/route.ts";
import type { AccessChecker, AccessRequest } from "./request.ts";
import type { AccessKeys } from "./keys.ts";
import type { FailureLimiter } from "./failure-limiter.ts";
import { isSecretEqual } from "./secret-equal.ts";
import { isExpired, verifySignature } from "./signature.ts";

export interface AccessCheckerOptions {
  /** The keys of the moment; undefined where none are configured. Asked at each check, so that keys can rotate. */
  readonly keys: () => AccessKeys | undefined;
  readonly failures: FailureLimiter;
}

/**
 * Creates the checker of the access table (contract §3, OSEP-0011).
 *
 * Only the signature is guarded by the limiter, since it has 32 bits only: a token is as long as its maker wants, and
 * a client that shows the right one must get through whatever was tried before. An expired route is refused before it
 * is compared, so it cannot be a guess and does not count as one.
 */
export function createAccessChecker(options: AccessCheckerOptions): AccessChecker {
  return {
    check(request) {
      const { route, accessToken, presentedToken } = request;
      if (accessToken === "") return route.path;
      if (presentedToken === null) return checkSignature(request, options);
      if (!isSecretEqual(presentedToken.trim(), accessToken)) throw new IngressError("token_mismatch");
      return settlePath(route, { keys: options.keys(), nowMs: request.nowMs });
    },
  };
}

function checkSignature(request: AccessRequest, options: AccessCheckerOptions): string {
  const { route, nowMs } = request;
  if (!isSigned(route)) throw new IngressError("signature_required");
  const keys = options.keys();
  if (keys === undefined) throw new IngressError("verifier_not_configured");
  if (isExpired(route.signature.expiresB36, nowMs)) throw new IngressError("access_expired");
  if (options.failures.isThrottled(request)) throw new IngressError("access_throttled");
  if (verifySignature(keys, route) === "valid") return route.signedPath;
  options.failures.record(request);
  throw new IngressError("signature_invalid");
}

/**
 * The path to forward for a client that showed the token: what looks signed in the URI form is a credential, and goes,
 * only if it verifies (contract §2). Nothing is at stake here, so failures are not counted.
 */
function settlePath(route: Route, now: { readonly keys: AccessKeys | undefined; readonly nowMs: number }): string {
  if (route.path === route.signedPath || now.keys === undefined || !isSigned(route)) return route.path;
  if (isExpired(route.signature.expiresB36, now.nowMs)) return route.path;
  return verifySignature(now.keys, route) === "valid" ? route.signedPath : route.path;
}

function isSigned(route: Route): route is Route & { readonly signature: RouteSignature } {
  return route.signature !== undefined;
}
