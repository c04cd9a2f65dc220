import type { Route } from "../../route/route.ts";
import type { ClientAddress } from "../request/client-address.ts";
import type { HeaderSnapshot } from "../request/headers.ts";

/** The parts of a request that tell how the client sees the ingress's address. */
export interface ClientSource {
  /** The Host as the client sent it; empty: missing. */
  readonly host: string;
  readonly address: ClientAddress;
  readonly seen: HeaderSnapshot;
}

const NOTHING_TOLD: HeaderSnapshot = {};

/** The headers in which a trusted proxy describes the client's side. */
export function toldBy({ address, seen }: ClientSource): HeaderSnapshot {
  return address.peerTrusted ? seen : NOTHING_TOLD;
}

/** The host of the client's address bar, from a trusted proxy, else from the request; empty: unknown. */
export function clientHostOf(source: ClientSource): string {
  const value = toldBy(source)["x-forwarded-host"];
  return value !== undefined && HOST.test(value) ? value : source.host;
}

/** The prefix that a trusted proxy removed from the path, without a slash at its end; empty: it removed nothing. */
export function outerPrefixOf(source: ClientSource): string {
  const value = toldBy(source)["x-forwarded-prefix"];
  if (value === undefined || !PREFIX.test(value) || value.startsWith("//")) return "";
  return value.endsWith("/") ? value.slice(0, -1) : value;
}

/**
 * The credential after the prefix in the URI form of a signed link; empty: there is none.
 * @param admitted `isSigned`: the signature in the path is a credential, not a part of the path.
 */
export function uriCredentialOf(admitted: { readonly route: Route; readonly isSigned: boolean }): string {
  const { route, isSigned } = admitted;
  if (!isSigned || route.signature === undefined || route.form !== "uri") return "";
  return `/${route.signature.expiresB36}/${route.signature.signature}`;
}

/** A host that may be used in an answer. */
const HOST = /^(?:[A-Za-z0-9._~-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$/;
/** A path that may be used in an answer. */
const PREFIX = /^\/[A-Za-z0-9\-._~!$&'()*+=:@/%]{0,1024}$/;
