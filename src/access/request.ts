import type { Route } from "../route/route.ts";

/** What the access table needs to know of one request (contract §3). */
export interface AccessRequest {
  readonly route: Route;
  /** The sandbox's `metadata.uid`, and its secure access token; an empty token means an open sandbox. */
  readonly sandboxUid: string;
  readonly accessToken: string;
  /** The value of `OpenSandbox-Secure-Access`; null when the header is absent. */
  readonly presentedToken: string | null;
  /** The client's address, as `--trusted-proxies` tells it. */
  readonly clientAddress: string;
  /** Wall-clock milliseconds. */
  readonly nowMs: number;
}

/** Checks access; the proxy's view of this folder. */
export interface AccessChecker {
  /** Returns the path to forward. Throws IngressError with the codes of the access table. */
  check(request: AccessRequest): string;
}
