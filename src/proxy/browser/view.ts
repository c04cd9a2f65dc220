import type { AccessGrant } from "../../access/request.ts";
import type { Route } from "../../route/route.ts";
import type { HostHeaderMode, OriginHeaderMode, SandboxPolicy, UriPrefixMode } from "../../sandbox/policy.ts";
import { stripHostCredentials } from "../request/route-credentials.ts";
import { type ClientSource, clientHostOf, outerPrefixOf, toldBy, uriCredentialOf } from "./client-side.ts";
import type { CorsGrant } from "./cors.ts";
import { variesBy } from "./vary.ts";

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
  /** `--uri-recovery`, referer: whether a request for a path outside every prefix is sent to the page that asked for it. */
  readonly uriRecovery: UriRecoveryMode;
  /**
   * `--cors-origins`, empty: the origins whose pages may read answers, as `createCorsPolicy` takes them.
   */
  readonly corsOrigins: readonly string[];
}

export type CookieDomainMode = "drop" | "keep";

export type UriRecoveryMode = "referer" | "off";

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
  /** What answers say about CORS where the sandbox does not; undefined: nothing. */
  readonly cors: CorsGrant | undefined;
  /** Names of request headers by which answers differ. */
  readonly varies: readonly string[];
}

/** What a view is made from. */
export interface ViewSource extends ClientSource {
  readonly config: BrowserConfig;
  readonly policy: SandboxPolicy | undefined;
  readonly route: Route;
  /** Whether the signature in the path is a credential, and no part of the path. */
  readonly isSigned: boolean;
  readonly grant: AccessGrant;
  readonly hostPort: string;
  /** Undefined: `--cors-origins` is off, or the request is a WebSocket's. */
  readonly cors: CorsGrant | undefined;
}

export function buildBrowserView(source: ViewSource): BrowserView {
  const { config, policy, route, host, hostPort } = source;
  const outer = route.prefix === "" ? "" : outerPrefixOf(source);
  const keepsPrefix = route.prefix !== "" && (policy?.uriPrefix ?? config.uriPrefix) === "keep";
  const plainPrefix = outer + route.prefix;
  return {
    hostHeader: chooseHost(policy?.hostHeader ?? config.hostHeader, source),
    hostPort,
    clientHost: clientHostOf(source),
    requestHost: host,
    scheme: toldBy(source)["x-forwarded-proto"] === "https" ? "https" : "http",
    prefix: keepsPrefix ? "" : plainPrefix + uriCredentialOf(source),
    plainPrefix: keepsPrefix ? "" : plainPrefix,
    pagePrefix: plainPrefix,
    turnsOrigin: (policy?.originHeader ?? config.originHeader) === "upstream",
    keepsPrefix,
    keepsCookieDomain: config.cookieDomain === "keep",
    cors: source.cors,
    varies: variesBy(route, source.grant),
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
