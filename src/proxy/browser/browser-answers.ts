import type { IngressErrorCode } from "../../errors.ts";
import { IngressError } from "../../errors.ts";
import type { Route, RouteMode } from "../../route/route.ts";
import { parseRequestTarget } from "../request/target.ts";
import type { ClientAddress } from "../request/client-address.ts";
import type { HeaderSnapshot } from "../request/headers.ts";
import { answerPreflight, type CorsPolicy, isPreflight } from "./cors.ts";
import { findRecovery, type RecoveryParts, redirectTo } from "./uri-recovery.ts";
import type { UriRecoveryMode } from "./view.ts";

/** Refusals of a path that leads nowhere: it is not a route, or its sandbox does not exist. */
const NOWHERE: ReadonlySet<IngressErrorCode> = new Set(["route_missing", "route_invalid", "sandbox_not_found"]);

/**
 * Refusals of a preflight that say nothing about the request after it, since a preflight carries neither a route nor a
 * token in a header. A missing sandbox and one that needs a credential get the same answer, so a preflight does not
 * reveal which of the two it is.
 */
const UNKNOWN_TO_PREFLIGHTS: ReadonlySet<IngressErrorCode> = new Set([
  ...NOWHERE,
  "signature_required",
  "signature_invalid",
  "access_expired",
  "access_throttled",
  "access_throttled_sandbox",
  "verifier_not_configured",
]);

/** What the search for an answer needs from the program. */
export interface BrowserAnswersOptions extends RecoveryParts {
  readonly mode: RouteMode;
  readonly uriRecovery: UriRecoveryMode;
  /** Undefined: `--cors-origins` is off. */
  readonly cors: CorsPolicy | undefined;
  /** As in `HandlerContext`. */
  readonly ensureSynced: () => Promise<void> | undefined;
}

/** A request that is about to be refused. */
export interface RefusedRequest {
  readonly request: Request;
  readonly error: IngressError;
  readonly address: ClientAddress;
  readonly isUpgrade: boolean;
}

/** The answer for a browser instead of a refusal. */
export interface BrowserAnswer {
  readonly response: Response;
  /** The route that it leads to; undefined: it leads to none. */
  readonly route: Route | undefined;
}

/** Finds the answer for a browser instead of a refusal: where its request belongs, or what it may send. */
export class BrowserAnswers {
  readonly #options: BrowserAnswersOptions;

  constructor(options: BrowserAnswersOptions) {
    this.#options = options;
  }

  /**
   * Resolves to undefined if the request must be refused. Rejects with an IngressError if it must be refused with
   * another error.
   */
  async find(refused: RefusedRequest): Promise<BrowserAnswer | undefined> {
    const { cors, mode, uriRecovery } = this.#options;
    const recovers = mode === "uri" && uriRecovery === "referer" && NOWHERE.has(refused.error.code);
    // For a WebSocket, browsers follow no redirect and send neither a Referer nor a preflight.
    if (refused.isUpgrade || (cors === undefined && !recovers)) return undefined;
    const seen: HeaderSnapshot = refused.request.headers.toJSON();
    return this.#findPreflight(refused, seen) ?? (recovers ? await this.#findRecovery(refused, seen) : undefined);
  }

  #findPreflight({ request, error }: RefusedRequest, seen: HeaderSnapshot): BrowserAnswer | undefined {
    const { cors } = this.#options;
    if (cors === undefined || !UNKNOWN_TO_PREFLIGHTS.has(error.code) || !isPreflight(request.method, seen)) return;
    const response = answerPreflight(seen, cors.decide(seen["origin"]));
    return response === undefined ? undefined : { response, route: undefined };
  }

  async #findRecovery(refused: RefusedRequest, seen: HeaderSnapshot): Promise<BrowserAnswer | undefined> {
    const { request, error, address } = refused;
    if (seen["referer"] === undefined) return;
    const syncing = this.#options.ensureSynced();
    if (syncing !== undefined) await syncing;
    const target = parseRequestTarget(request.url);
    const lost = { target, headers: request.headers, host: seen["host"] ?? "", address, seen };
    try {
      const recovery = findRecovery(lost, this.#options);
      return recovery === undefined ? undefined : { response: redirectTo(recovery), route: recovery.route };
    } catch (thrown) {
      if (!(thrown instanceof IngressError)) throw thrown;
      // The client gets the same text as without a Referer. The log tells that somebody may have guessed.
      throw new IngressError(error.code, error.message, { cause: `${thrown.code} for the page in Referer` });
    }
  }
}
