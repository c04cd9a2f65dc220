import type { AccessGrant } from "../../access/request.ts";
import { DEPRECATED_ROUTE_HEADER, ROUTE_HEADER } from "../../route/parse-route.ts";
import type { Route } from "../../route/route.ts";
import { hasToken } from "../request/list-field.ts";

const TOKEN_HEADER = "OpenSandbox-Secure-Access";

const BY_NOTHING: readonly string[] = [];
/** Either spelling can route, so a request without one of them differs from a request with it. */
const BY_ROUTE: readonly string[] = [ROUTE_HEADER, DEPRECATED_ROUTE_HEADER];
const BY_TOKEN: readonly string[] = [TOKEN_HEADER];
const BY_BOTH: readonly string[] = [...BY_ROUTE, ...BY_TOKEN];

/**
 * The headers that chose the sandbox of this request and admitted it. Caches identify an answer by its URL alone (RFC
 * 9111 §2). So a cache in a browser or in front of the ingress would give the answer of one sandbox for another, or an
 * answer that needed a token to a client without one. A client that routes by header could leave an answer under the
 * address of another sandbox.
 */
export function variesBy({ form }: Pick<Route, "form">, { kind }: Pick<AccessGrant, "kind">): readonly string[] {
  if (form !== "header") return kind === "token" ? BY_TOKEN : BY_NOTHING;
  return kind === "token" ? BY_BOTH : BY_ROUTE;
}

/** Adds names to `Vary`, in place (RFC 9110 §12.5.5), if they are missing and it is not `*`. */
export function addVary(headers: Headers, names: readonly string[]): void {
  const vary = headers.get("vary") ?? "";
  if (hasToken(vary, "*")) return;
  const missing = vary === "" ? names : names.filter((name) => !hasToken(vary, name.toLowerCase()));
  if (missing.length === 0) return;
  headers.set("Vary", vary === "" ? missing.join(", ") : `${vary}, ${missing.join(", ")}`);
}
