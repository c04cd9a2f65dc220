import type { AccessGrant } from "../../access/request.ts";
import { DEPRECATED_ROUTE_HEADER, ROUTE_HEADER } from "../../route/parse-route.ts";
import type { Route } from "../../route/route.ts";
import { hasToken } from "../request/list-field.ts";

const TOKEN_HEADER = "OpenSandbox-Secure-Access";

const BY_NOTHING: readonly string[] = [];
/** Either spelling can route, so a request without one of them is another request than one with it. */
const BY_ROUTE: readonly string[] = [ROUTE_HEADER, DEPRECATED_ROUTE_HEADER];
const BY_TOKEN: readonly string[] = [TOKEN_HEADER];
const BY_BOTH: readonly string[] = [...BY_ROUTE, ...BY_TOKEN];

/**
 * The headers that made this request this sandbox's, and let it in. Caches know an answer by its URL alone (RFC 9111 §2): in
 * a browser or in front of us one would give the answer of one sandbox for another, or what a token was needed for to
 * somebody without it; and who routes by header could leave an answer under the address of another sandbox.
 */
export function variesBy({ form }: Pick<Route, "form">, { kind }: Pick<AccessGrant, "kind">): readonly string[] {
  if (form !== "header") return kind === "token" ? BY_TOKEN : BY_NOTHING;
  return kind === "token" ? BY_BOTH : BY_ROUTE;
}

/** Adds names to `Vary`, in place (RFC 9110 §12.5.5), unless it has them or holds for everything. */
export function addVary(headers: Headers, names: readonly string[]): void {
  const vary = headers.get("vary") ?? "";
  if (hasToken(vary, "*")) return;
  const missing = vary === "" ? names : names.filter((name) => !hasToken(vary, name.toLowerCase()));
  if (missing.length === 0) return;
  headers.set("Vary", vary === "" ? missing.join(", ") : `${vary}, ${missing.join(", ")}`);
}
