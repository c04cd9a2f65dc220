import type { AccessGrant } from "../../access/request.ts";
import type { Route } from "../../route/route.ts";
import type { HostHeaderMode, OriginHeaderMode, SandboxPolicy, UriPrefixMode } from "../../sandbox/policy.ts";
import type { Door } from "../request/door.ts";
import { stripHostCredentials } from "../request/route-credentials.ts";
import { type ClientSource, clientHostOf, outerPrefixOf, toldBy, uriCredentialOf } from "./client-side.ts";
import type { CorsGrant } from "./cors.ts";
import { variesBy } from "./vary.ts";

/** The settings for browsers. Annotations of a sandbox override the first three. */
export interface BrowserConfig {
  /** `--host-header`, upstream. */
  readonly hostHeader: HostHeaderMode;
  /** `--origin-header`, preserve. */
  readonly originHeader: OriginHeaderMode;
  /** `--uri-prefix`, strip. */
  readonly uriPrefix: UriPrefixMode;
  /** `--cookie-domain`, drop: whether a `Domain` that reaches beyond the sandbox is removed from its cookies. */
  readonly cookieDomain: CookieDomainMode;
  /**
   * `--uri-recovery`, referer: whether a request for a path outside every prefix is redirected to the sandbox of the
   * page that asked for it.
   */
  readonly uriRecovery: UriRecoveryMode;
  /** `--cors-origins`, empty: the origins whose pages may read answers, in the form for `createCorsPolicy`. */
  readonly corsOrigins: readonly string[];
}

export type CookieDomainMode = "drop" | "keep";

export type UriRecoveryMode = "referer" | "off";

/** How one request's client and its sandbox each see the address of the application. */
export interface BrowserView {
  /** The `Host` that the sandbox sees. */
  readonly hostHeader: string;
  /** `host:port` from the sandbox's record. */
  readonly hostPort: string;
  /** The host of the client's address bar, including the credential of a signed route; empty: unknown. */
  readonly clientHost: string;
  /** The `Host` of the request. It differs from `clientHost` only behind a trusted proxy. */
  readonly requestHost: string;
  readonly scheme: "http" | "https";
  /**
   * The prefix of the sandbox's paths in the client's view, including credentials; empty: there is none, or the mode is
   * `keep`.
   */
  readonly prefix: string;
  /** The same without credentials. The sandbox gets it in a header, and its cookies use it as their scope. */
  readonly plainPrefix: string;
  /**
   * The prefix of the pages of this sandbox in the client's view, even with `keep`; empty: the route does not have the
   * URI form.
   */
  readonly pagePrefix: string;
  readonly turnsOrigin: boolean;
  readonly keepsPrefix: boolean;
  readonly keepsCookieDomain: boolean;
  /** What answers say about CORS if the sandbox says nothing; undefined: nothing. */
  readonly cors: CorsGrant | undefined;
  /** Names of the request headers that choose the answer. */
  readonly varies: readonly string[];
}

/** The parts of a view. */
export interface ViewSource extends ClientSource {
  readonly config: BrowserConfig;
  readonly policy: SandboxPolicy | undefined;
  readonly route: Route;
  /** Whether the signature in the path is a credential, not a part of the path. */
  readonly isSigned: boolean;
  readonly grant: AccessGrant;
  readonly hostPort: string;
  /** How the client speaks to this ingress. A trusted proxy may tell of another scheme in front of it. */
  readonly scheme: Door["scheme"];
  /** Undefined: `--cors-origins` is off, or the request is for a WebSocket. */
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
    scheme: clientSchemeOf(source),
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

/** As the sandbox is told in `X-Forwarded-Proto`. */
function clientSchemeOf(source: ViewSource): Door["scheme"] {
  const told = toldBy(source)["x-forwarded-proto"] ?? "";
  if (told === "") return source.scheme;
  return told === "https" ? "https" : "http";
}

/**
 * The path for a sandbox that knows its prefix: the client's path without a credential. A bare prefix stays bare, since
 * applications redirect between the forms with and without a slash.
 * @param asked The path of the request.
 * @param rest The part of it after the prefix and the credential; `/` if it is empty.
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
