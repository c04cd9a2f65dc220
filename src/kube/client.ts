import { createHash } from "node:crypto";
import { systemClock, type Clock } from "../clock.ts";
import { orAbort } from "./deadline.ts";
import { buildRequestCredentials, loadCredentials, type Credentials, type RequestCredentials } from "./credentials.ts";
import type { KubeConfigSource } from "./credentials.ts";
import { KubeError, toKubeError } from "./errors.ts";
import { codeOf } from "../values.ts";

export interface KubeGetOptions {
  /**
   * Called when the credentials are ready and the request is about to be sent: the time limit for the answer starts
   * here.
   */
  readonly onSend?: () => void;
  /** Ends the request and the body of its answer. */
  readonly signal: AbortSignal;
}

/** Requests to an API server. Tests replace the network here. */
export interface KubeClient {
  /**
   * Sends a GET with the current credentials. Returns the answer with any status, its body unread. Throws KubeError
   * `credentials` or `unreachable`. Finding the credentials has a time limit; the answer has none.
   */
  get(path: string, options: KubeGetOptions): Promise<Response>;
}

/** A client that can also create and change objects. */
export interface KubeWriter extends KubeClient {
  /** Sends a POST with a body of JSON. Otherwise as `get`. */
  post(path: string, body: unknown, options: KubeGetOptions): Promise<Response>;
  /** Sends a PATCH with a JSON merge patch (RFC 7386). Otherwise as `get`. */
  patch(path: string, patch: unknown, options: KubeGetOptions): Promise<Response>;
}

/**
 * How long finding the credentials may take, in milliseconds. Files take no time. An exec plugin asks a cloud for a
 * token, and a plugin that waits for a person's input would wait for ever.
 */
const CREDENTIALS_MAX_MS = 60_000;
/** Seconds that an idle connection is kept. Only the pages of a list and quick reconnects share a connection. */
const IDLE_TIMEOUT_SECONDS = 30;

export interface KubeClientOptions {
  readonly clock?: Clock;
  /** How long finding the credentials may take, in milliseconds. Default: 60,000. */
  readonly credentialsMaxMs?: number;
  /** `User-Agent`: the API server's audit log and priority rules distinguish clients by it. */
  readonly userAgent?: string;
  /** Gets the server's URL before each request. The request waits for it, and fails if it rejects. */
  readonly onServer?: (server: string) => Promise<void>;
}

/**
 * Creates a client that loads its credentials at the first request. A missing or invalid kubeconfig makes requests
 * fail, not the program.
 */
export function createKubeClient(source: KubeConfigSource, options: KubeClientOptions = {}): KubeWriter {
  return new FetchKubeClient(source, options);
}

class FetchKubeClient implements KubeWriter {
  readonly #source: KubeConfigSource;
  readonly #clock: Clock;
  readonly #userAgent: string;
  readonly #credentialsMaxMs: number;
  readonly #onServer: KubeClientOptions["onServer"];
  #credentials: Credentials | undefined;
  #pending: Promise<RequestCredentials> | undefined;
  #session: Bun.FetchSession | undefined;
  /** Digest of the TLS settings and proxy that the session uses. */
  #sessionKey = "";

  constructor(source: KubeConfigSource, options: KubeClientOptions) {
    this.#source = source;
    this.#clock = options.clock ?? systemClock;
    this.#userAgent = options.userAgent ?? "opensandbox-ingress";
    this.#credentialsMaxMs = options.credentialsMaxMs ?? CREDENTIALS_MAX_MS;
    this.#onServer = options.onServer;
  }

  get(path: string, options: KubeGetOptions): Promise<Response> {
    return this.#send(path, { method: "GET" }, options);
  }

  post(path: string, body: unknown, options: KubeGetOptions): Promise<Response> {
    const headers = { "Content-Type": "application/json" };
    return this.#send(path, { method: "POST", headers, body: JSON.stringify(body) }, options);
  }

  patch(path: string, patch: unknown, options: KubeGetOptions): Promise<Response> {
    const headers = { "Content-Type": "application/merge-patch+json" };
    return this.#send(path, { method: "PATCH", headers, body: JSON.stringify(patch) }, options);
  }

  async #send(path: string, sent: SentRequest, { signal, onSend }: KubeGetOptions): Promise<Response> {
    const credentials = await this.#readCredentials(signal);
    await this.#onServer?.(credentials.server);
    const session = this.#sessionFor(credentials);
    onSend?.();
    try {
      const response = await session.fetch(credentials.server + path, {
        ...sent,
        headers: { Accept: "application/json", "User-Agent": this.#userAgent, ...sent.headers, ...credentials.headers },
        signal,
        // An API server does not redirect. The target of a redirect must not see the token.
        redirect: "manual",
        timeout: false,
        // Undefined obeys HTTPS_PROXY and NO_PROXY, as client-go and kubectl do.
        proxy: credentials.proxyUrl,
      });
      // Credentials were rotated or revoked: read them again for the next request, and run an exec plugin again.
      if (response.status === 401) this.#credentials = undefined;
      return response;
    } catch (error) {
      // Idle connections to a server that has gone are useless.
      if (this.#session === session) this.#dropSession();
      // The certificate authorities may have been rotated.
      if (isTlsFailure(error)) this.#credentials = undefined;
      if (signal.aborted && signal.reason instanceof KubeError) throw signal.reason;
      throw new KubeError("unreachable", `${credentials.server}: ${toKubeError(error).message}`, { cause: error });
    }
  }

  /** Loads credentials only once at a time, so a plugin that hangs is one process and not many. */
  async #readCredentials(signal: AbortSignal): Promise<RequestCredentials> {
    const pending = (this.#pending ??= this.#loadCredentials().finally(() => {
      this.#pending = undefined;
    }));
    const limit = new AbortController();
    const late = new KubeError(
      "credentials",
      `the exec plugin did not answer within ${this.#credentialsMaxMs / 1000} s`,
    );
    const timer = this.#clock.setTimer(this.#credentialsMaxMs, () => limit.abort(late));
    try {
      return await orAbort(pending, AbortSignal.any([signal, limit.signal]));
    } finally {
      timer.cancel();
    }
  }

  async #loadCredentials(): Promise<RequestCredentials> {
    try {
      this.#credentials ??= loadCredentials(this.#source);
      return await buildRequestCredentials(this.#credentials);
    } catch (error) {
      this.#credentials = undefined;
      throw error instanceof KubeError ? error : new KubeError("credentials", toKubeError(error).message);
    }
  }

  /** Connections are shared as long as the certificates stay the same. */
  #sessionFor({ tls, proxyUrl }: RequestCredentials): Bun.FetchSession {
    const key = createHash("sha256")
      .update(JSON.stringify([tls, proxyUrl]))
      .digest("hex");
    if (this.#session !== undefined && this.#sessionKey === key) return this.#session;
    this.#dropSession();
    this.#sessionKey = key;
    this.#session = new Bun.FetchSession({ tls, keepAlive: { idleTimeout: IDLE_TIMEOUT_SECONDS } });
    return this.#session;
  }

  /** Requests in flight, such as another namespace's watch, continue to their end. */
  #dropSession(): void {
    this.#session?.close();
    this.#session = undefined;
  }
}

interface SentRequest {
  readonly method: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

function isTlsFailure(error: unknown): boolean {
  return /CERT|TLS|SSL|SIGNATURE|ISSUER/.test(codeOf(error));
}
