import type { Route } from "../../route/route.ts";
import type { HostHeaderMode, OriginHeaderMode, SandboxPolicy, UriPrefixMode } from "../../sandbox/policy.ts";
import type { ClientAddress } from "../request/client-address.ts";
import type { HeaderSnapshot } from "../request/headers.ts";
import { stripHostCredentials } from "../request/route-credentials.ts";

/** What an operator sets for browsers; annotations of a sandbox go before the first three. */
export interface BrowserConfig {
  /** `--host-header`, upstream. */
  readonly hostHeader: HostHeaderMode;
  /** `--origin-header`, preserve. */
  readonly originHeader: OriginHeaderMode;
  /** `--uri-prefix`, strip. */
  readonly uriPrefix: UriPrefixMode;
  /** `--cookie-domain`, drop: whether a `Domain` that reaches beyond the sandbox is taken out of its cookies. */
  readonly cookieDomain: CookieDomainMode;
}

export type CookieDomainMode = "drop" | "keep";

/** How one request's client and its sandbox each see the address of the application. */
export interface BrowserView {
  /** The `Host` that the sandbox sees. */
  readonly hostHeader: string;
  /** `host:port` as the sandbox's record names it. */
  readonly hostPort: string;
  /** The host of the client's address bar, credentials of a signed route included; empty: unknown. */
  readonly clientHost: string;
  /** The `Host` of the request. Differs from `clientHost` behind a trusted proxy only. */
  readonly requestHost: string;
  readonly scheme: "http" | "https";
  /** What stands before the sandbox's paths in the client's, credentials included; empty: nothing, or `keep`. */
  readonly prefix: string;
  /** The same without credentials: what the sandbox is told, and the scope of its cookies. */
  readonly plainPrefix: string;
  /** Where pages of this sandbox lie in the client's view, also with `keep`; empty: the form is not the URI form. */
  readonly pagePrefix: string;
  readonly turnsOrigin: boolean;
  readonly keepsPrefix: boolean;
  readonly keepsCookieDomain: boolean;
}

/** What a view is made from. */
export interface ViewSource {
  readonly config: BrowserConfig;
  readonly policy: SandboxPolicy | undefined;
  readonly route: Route;
  /** Whether the signature in the path is a credential, and no part of the path. */
  readonly isSigned: boolean;
  /** The Host as the client sent it. */
  readonly host: string;
  readonly hostPort: string;
  readonly address: ClientAddress;
  readonly seen: HeaderSnapshot;
}

export function buildBrowserView(source: ViewSource): BrowserView {
  const { config, policy, route, host, hostPort } = source;
  const told = source.address.peerTrusted ? source.seen : NOTHING_TOLD;
  const outer = route.prefix === "" ? "" : readPrefix(told["x-forwarded-prefix"]);
  const keepsPrefix = route.prefix !== "" && (policy?.uriPrefix ?? config.uriPrefix) === "keep";
  const plainPrefix = outer + route.prefix;
  return {
    hostHeader: chooseHost(policy?.hostHeader ?? config.hostHeader, source),
    hostPort,
    clientHost: readHost(told["x-forwarded-host"]) ?? host,
    requestHost: host,
    scheme: told["x-forwarded-proto"] === "https" ? "https" : "http",
    prefix: keepsPrefix ? "" : plainPrefix + credentialOf(source),
    plainPrefix: keepsPrefix ? "" : plainPrefix,
    pagePrefix: plainPrefix,
    turnsOrigin: (policy?.originHeader ?? config.originHeader) === "upstream",
    keepsPrefix,
    keepsCookieDomain: config.cookieDomain === "keep",
  };
}

/**
 * The path that a sandbox sees which knows its prefix: that of the client, less a credential. A bare prefix stays bare:
 * applications redirect the one with a slash to it, or the other way round.
 * @param asked The path of the request.
 * @param rest What of it lies behind the prefix and the credential; `/` where that is nothing.
 */
export function keepPath(prefix: string, asked: string, rest: string): string {
  return rest === "/" && !asked.endsWith("/") ? prefix : prefix + rest;
}

const NOTHING_TOLD: HeaderSnapshot = {};

function credentialOf({ route, isSigned }: ViewSource): string {
  const { signature } = route;
  if (!isSigned || signature === undefined || route.form !== "uri") return "";
  return `/${signature.expiresB36}/${signature.signature}`;
}

function chooseHost(mode: HostHeaderMode, { host, hostPort, route }: ViewSource): string {
  switch (mode) {
    case "upstream":
      return hostPort;
    case "preserve":
      // HTTP/1.0 has no Host.
      return host === "" ? hostPort : stripHostCredentials(host);
    case "localhost":
      return `localhost:${route.port}`;
  }
}

/** One host of a trusted proxy; undefined: there is none, or it is not a host that may stand in an answer. */
function readHost(value: string | undefined): string | undefined {
  return value !== undefined && /^(?:[A-Za-z0-9._~-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$/.test(value)
    ? value
    : undefined;
}

/** The prefix that a trusted proxy took off the path, without a slash at its end; empty: none. */
function readPrefix(value: string | undefined): string {
  if (value === undefined || !/^\/[A-Za-z0-9\-._~!$&'()*+=:@/%]{0,1024}$/.test(value) || value.startsWith("//"))
    return "";
  return value.endsWith("/") ? value.slice(0, -1) : value;
}
