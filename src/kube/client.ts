import { createHash } from "node:crypto";
import { systemClock, type Clock } from "../clock.ts";
import { orAbort } from "./deadline.ts";
import { buildRequestCredentials, loadCredentials, type Credentials, type RequestCredentials } from "./credentials.ts";
import type { KubeConfigSource } from "./credentials.ts";
import { KubeError, toKubeError } from "./errors.ts";

export interface KubeGetOptions {
  /** Called when the credentials are there and the request is about to be sent: a time limit for the answer begins. */
  readonly onSend?: () => void;
  /** Ends the request and the body of its answer. */
  readonly signal: AbortSignal;
}

/** Requests to an API server. The seam between the reflector and the network. */
export interface KubeClient {
  /**
   * Sends a GET with the credentials of the moment and gives the answer whatever its status, its body not yet read.
   * Throws KubeError `credentials` or `unreachable`. The credentials have a time limit of their own, the answer has none.
   */
  get(path: string, options: KubeGetOptions): Promise<Response>;
}

/**
 * How long finding the credentials may take, in milliseconds. Files take none. An exec plugin asks a cloud for a token,
 * and a plugin that waits for a person's input would wait for ever.
 */
const CREDENTIALS_MAX_MS = 60_000;
/** Seconds that an idle connection is kept: the pages of a list and quick reconnects share one, nothing else does. */
const IDLE_TIMEOUT_SECONDS = 30;

export interface KubeClientOptions {
  readonly clock?: Clock;
  /** How long finding the credentials may take, in milliseconds. Default: 60,000. */
  readonly credentialsMaxMs?: number;
  /** `User-Agent`, by which an API server's audit log and priority rules tell clients apart. */
  readonly userAgent?: string;
}

/**
 * A client that finds its credentials as the source says, when the first request is made: a kubeconfig that is missing
 * or wrong makes requests fail, not the program.
 */
export function createKubeClient(source: KubeConfigSource, options: KubeClientOptions = {}): KubeClient {
  return new FetchKubeClient(source, options);
}

class FetchKubeClient implements KubeClient {
  readonly #source: KubeConfigSource;
  readonly #clock: Clock;
  readonly #userAgent: string;
  readonly #credentialsMaxMs: number;
  #credentials: Credentials | undefined;
  #pending: Promise<RequestCredentials> | undefined;
  #session: Bun.FetchSession | undefined;
  /** What the session's connections were made with. */
  #sessionKey = "";

  constructor(source: KubeConfigSource, options: KubeClientOptions) {
    this.#source = source;
    this.#clock = options.clock ?? systemClock;
    this.#userAgent = options.userAgent ?? "opensandbox-ingress";
    this.#credentialsMaxMs = options.credentialsMaxMs ?? CREDENTIALS_MAX_MS;
  }

  async get(path: string, { signal, onSend }: KubeGetOptions): Promise<Response> {
    const credentials = await this.#readCredentials(signal);
    const session = this.#sessionFor(credentials);
    onSend?.();
    try {
      const response = await session.fetch(credentials.server + path, {
        headers: { Accept: "application/json", "User-Agent": this.#userAgent, ...credentials.headers },
        signal,
        // An API server does not redirect; whatever does must not be shown the token.
        redirect: "manual",
        timeout: false,
        // Undefined honours HTTPS_PROXY and NO_PROXY, as client-go and kubectl do.
        proxy: credentials.proxyUrl,
      });
      // Whatever was rotated or revoked: read everything afresh, and let an exec plugin run again, the next time.
      if (response.status === 401) this.#credentials = undefined;
      return response;
    } catch (error) {
      // The idle connections of a server that has gone lead nowhere.
      if (this.#session === session) this.#dropSession();
      // The authorities may have been rotated.
      if (isTlsFailure(error)) this.#credentials = undefined;
      if (signal.aborted && signal.reason instanceof KubeError) throw signal.reason;
      throw new KubeError("unreachable", `${credentials.server}: ${toKubeError(error).message}`, { cause: error });
    }
  }

  /** One at a time, however many ask and however long it takes: a plugin that hangs is one process, not many. */
  async #readCredentials(signal: AbortSignal): Promise<RequestCredentials> {
    const pending = (this.#pending ??= this.#loadCredentials().finally(() => {
      this.#pending = undefined;
    }));
    const limit = new AbortController();
    const late = new KubeError(
      "credentials",
      `the exec plugin has not answered for ${this.#credentialsMaxMs / 1000} s`,
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

  /** Connections are shared for as long as the certificates stay the same. */
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

  /** Requests in flight, such as another namespace's watch, go on to their end. */
  #dropSession(): void {
    this.#session?.close();
    this.#session = undefined;
  }
}

function isTlsFailure(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return /CERT|TLS|SSL|SIGNATURE|ISSUER/.test(code);
}
