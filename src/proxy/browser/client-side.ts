import type { Route } from "../../route/route.ts";
import type { ClientAddress } from "../request/client-address.ts";
import type { HeaderSnapshot } from "../request/headers.ts";

/** Where it stands how the client sees our address. */
export interface ClientSource {
  /** The Host as the client sent it; empty: there is none. */
  readonly host: string;
  readonly address: ClientAddress;
  readonly seen: HeaderSnapshot;
}

const NOTHING_TOLD: HeaderSnapshot = {};

/** The headers in which a trusted proxy tells of the client's side. */
export function toldBy({ address, seen }: ClientSource): HeaderSnapshot {
  return address.peerTrusted ? seen : NOTHING_TOLD;
}

/** The host of the client's address bar, as a trusted proxy tells it, else that of the request; empty: unknown. */
export function clientHostOf(source: ClientSource): string {
  const value = toldBy(source)["x-forwarded-host"];
  return value !== undefined && HOST.test(value) ? value : source.host;
}

/** The prefix that a trusted proxy took off the path, without a slash at its end; empty: none. */
export function outerPrefixOf(source: ClientSource): string {
  const value = toldBy(source)["x-forwarded-prefix"];
  if (value === undefined || !PREFIX.test(value) || value.startsWith("//")) return "";
  return value.endsWith("/") ? value.slice(0, -1) : value;
}

/**
 * What stands behind the prefix in the URI form of a signed link; empty: nothing does.
 * @param admitted `isSigned`: the signature in the path is a credential, and no part of the path.
 */
export function uriCredentialOf(admitted: { readonly route: Route; readonly isSigned: boolean }): string {
  const { route, isSigned } = admitted;
  if (!isSigned || route.signature === undefined || route.form !== "uri") return "";
  return `/${route.signature.expiresB36}/${route.signature.signature}`;
}

/** One host that may stand in an answer. */
const HOST = /^(?:[A-Za-z0-9._~-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$/;
/** A path that may stand in an answer. */
const PREFIX = /^\/[A-Za-z0-9\-._~!$&'()*+=:@/%]{0,1024}$/;
