import type { Clock } from "../clock.ts";
import { IngressError } from "../errors.ts";
import type { Route, RouteSignature } from "../route/route.ts";
import type { AccessChecker, AccessGrant, AccessRequest, AccessState, Admission } from "./request.ts";
import type { AccessKeys } from "./keys.ts";
import type { FailureLimiter } from "./failure-limiter.ts";
import { createSecretDigester, isEqualDigest, type SecretDigest } from "./secret-digest.ts";
import { isExpired, keyIdOf, verifySignature } from "./signature.ts";
import { type Link, VerifiedLinks } from "./verified-links.ts";

export interface AccessCheckerOptions {
  /** The current keys; undefined if none are configured. Read at each check, so that keys can rotate. */
  readonly keys: () => AccessKeys | undefined;
  readonly failures: FailureLimiter;
  /** Only its monotonic time is used. */
  readonly clock: Clock;
  /** `--end-at-expiry`. Default: false; an open connection may continue after its signed route expires. */
  readonly endAtExpiry?: boolean;
  /** Default: a new store with the default limits. */
  readonly links?: VerifiedLinks;
}

/**
 * Creates the checker of the access table (docs/contract.md §3,
 * [OSEP-0011](https://github.com/alibaba/OpenSandbox/blob/main/oseps/0011-secure-access-endpoint.md)).
 *
 * The limiter guards only signatures, because they have only 32 bits. A token is as long as its maker wants, and a
 * client with the right token must always pass. A link that has verified before passes, too. An expired route is
 * refused before its signature is compared, so it cannot be a guess and does not count as one.
 */
export function createAccessChecker(options: AccessCheckerOptions): AccessChecker {
  return new TableChecker(options);
}

type SignedRoute = Route & { readonly signature: RouteSignature };

const OPEN: AccessGrant = Object.freeze({ kind: "open" });

class TableChecker implements AccessChecker {
  readonly #options: AccessCheckerOptions;
  readonly #links: VerifiedLinks;
  readonly #digester = createSecretDigester();
  #keys: AccessKeys | undefined;
  /** The digests of `#keys`, by key id. */
  #keyDigests: ReadonlyMap<string, SecretDigest> = new Map();

  constructor(options: AccessCheckerOptions) {
    this.#options = options;
    this.#links = options.links ?? new VerifiedLinks({ clock: options.clock });
  }

  check(request: AccessRequest): Admission {
    const { route, accessToken, presentedToken, nowMs } = request;
    if (accessToken === "") return { path: route.path, grant: OPEN };
    if (presentedToken === null) return this.#checkSignature(request);
    const tokenDigest = this.#digester.digest(accessToken);
    if (!isEqualDigest(this.#digester.digest(presentedToken.trim()), tokenDigest)) {
      throw new IngressError("token_mismatch");
    }
    return { path: settlePath(route, { keys: this.#options.keys(), nowMs }), grant: { kind: "token", tokenDigest } };
  }

  isStillGranted(grant: AccessGrant, state: AccessState): boolean {
    if (state.accessToken === "") return true;
    if (grant.kind === "open") return false;
    if (grant.kind === "token") return isEqualDigest(this.#digester.digest(state.accessToken), grant.tokenDigest);
    if (this.#options.endAtExpiry === true && isExpired(grant.expiresB36, state.nowMs)) return false;
    this.#takeKeys();
    const keyDigest = this.#keyDigests.get(grant.keyId);
    return keyDigest !== undefined && isEqualDigest(keyDigest, grant.keyDigest);
  }

  #checkSignature(request: AccessRequest): Admission {
    const { route, nowMs } = request;
    if (!isSigned(route)) throw new IngressError("signature_required");
    const keys = this.#takeKeys();
    if (keys === undefined) throw new IngressError("verifier_not_configured");
    if (isExpired(route.signature.expiresB36, nowMs)) throw new IngressError("access_expired");

    const { failures } = this.#options;
    const link = linkOf(request, route);
    const throttle = failures.throttleOf(request);
    if (throttle !== undefined && !this.#links.mayCompare(link)) {
      throw new IngressError(throttle === "client" ? "access_throttled" : "access_throttled_sandbox");
    }
    const keyDigest = this.#keyDigests.get(link.keyId);
    if (verifySignature(keys, route) === "valid" && keyDigest !== undefined) {
      this.#links.remember(link);
      const { keyId, expiresB36 } = link;
      return { path: route.signedPath, grant: { kind: "signature", keyId, keyDigest, expiresB36 } };
    }
    failures.record(request);
    if (throttle !== undefined) this.#links.recordMiss(link);
    throw new IngressError("signature_invalid");
  }

  /** Returns the current keys. Forgets what was verified with keys that are gone. */
  #takeKeys(): AccessKeys | undefined {
    const keys = this.#options.keys();
    if (keys === this.#keys) return keys;
    const before = this.#keyDigests;
    const digests = new Map<string, SecretDigest>();
    for (const id of keys?.ids ?? []) digests.set(id, this.#digester.digest(keys?.secretOf(id) ?? ""));
    this.#keys = keys;
    this.#keyDigests = digests;
    this.#links.forgetKeys((id) => {
      const [was, is] = [before.get(id), digests.get(id)];
      return was === undefined || is === undefined || !isEqualDigest(was, is);
    });
    return keys;
  }
}

/**
 * The path to forward for a client that showed the token. In the URI form, a part that looks signed is removed only if
 * it verifies (docs/contract.md §2). The client already has access, so failures are not counted.
 */
function settlePath(route: Route, now: { readonly keys: AccessKeys | undefined; readonly nowMs: number }): string {
  if (route.path === route.signedPath || now.keys === undefined || !isSigned(route)) return route.path;
  if (isExpired(route.signature.expiresB36, now.nowMs)) return route.path;
  return verifySignature(now.keys, route) === "valid" ? route.signedPath : route.path;
}

function isSigned(route: Route): route is SignedRoute {
  return route.signature !== undefined;
}

function linkOf({ sandboxUid }: AccessRequest, { sandboxId, port, signature }: SignedRoute): Link {
  return { sandboxUid, sandboxId, port, expiresB36: signature.expiresB36, keyId: keyIdOf(signature) };
}
