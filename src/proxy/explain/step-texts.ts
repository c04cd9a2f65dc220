import type { Admission } from "../../access/request.ts";
import type { IngressErrorCode } from "../../errors.ts";
import { formatEpochSeconds, parseBase36 } from "../../route/expiry.ts";
import type { RouteForm } from "../../route/route.ts";

/** What named the sandbox. */
export const FORM_TEXTS: Readonly<Record<RouteForm, string>> = {
  header: "the header",
  host: "the Host",
  uri: "the path",
};

/** The reasons that a client does not get (docs/contract.md §3), but an operator does. */
const REFUSALS: Readonly<Partial<Record<IngressErrorCode, string>>> = {
  signature_required: "the sandbox is secured, and the request has neither its token nor a signed route",
  token_mismatch: "the token in OpenSandbox-Secure-Access is not the sandbox's",
  access_expired: "the signed route expired at {expires}",
  signature_invalid: "the signature does not match: another key made it, or id, port or expiry were changed",
  access_throttled: "this address showed too many wrong signatures: this one is not checked",
  access_throttled_sandbox: "this sandbox got too many wrong signatures: this one is not checked",
  verifier_not_configured: "the route is signed, and this ingress has no keys",
};

/**
 * Why access is refused. `expires`: of the route's signature; empty: it has none. Undefined: the refusal's message says
 * it.
 */
export function describeAccessRefusal(code: IngressErrorCode, expires: string): string | undefined {
  return REFUSALS[code]?.replace("{expires}", expires);
}

/** What admits the request. */
export function describeGrant({ grant }: Admission): string {
  switch (grant.kind) {
    case "open":
      return "the sandbox is open and needs no credential";
    case "token":
      return "the token is the sandbox's";
    case "signature":
      return `the signature is right: key ${grant.keyId}, until ${describeExpiry(grant.expiresB36)}`;
  }
}

/** RFC 3339. */
export function describeExpiry(expiresB36: string): string {
  return formatEpochSeconds(parseBase36(expiresB36));
}

/** The asker chose the method, so it can be any text. */
export function describeMethod(method: string): string {
  return /^[A-Z]{1,16}$/.test(method) ? method : "another method";
}

/** A count beside its limit; 0: no limit. */
export function ofLimit(count: number, limit: number): string {
  return limit === 0 ? String(count) : `${count} of at most ${limit}`;
}
