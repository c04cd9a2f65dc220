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
 * Refusals of a preflight that say nothing of the request that would follow: a preflight carries neither a route nor a token in a header.
 * A sandbox that does not exist is answered like one behind a credential, and so no preflight tells which it is.
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

/** What finding an answer needs from the program. */
export interface BrowserAnswersOptions extends RecoveryParts {
  readonly mode: RouteMode;
  readonly uriRecovery: UriRecoveryMode;
  /** Undefined: `--cors-origins` is off. */
  readonly cors: CorsPolicy | undefined;
  /** As `HandlerContext` has it. */
  readonly ensureSynced: () => Promise<void> | undefined;
}

/** A request that is about to be refused. */
export interface RefusedRequest {
  readonly request: Request;
  readonly error: IngressError;
  readonly address: ClientAddress;
  readonly isUpgrade: boolean;
}

/** What a browser is told in place of a refusal. */
export interface BrowserAnswer {
  readonly response: Response;
  /** The route that it leads to; undefined: none. */
  readonly route: Route | undefined;
}

/** Finds what a browser is told in place of a refusal: where its request belongs, or what it may send. */
export class BrowserAnswers {
  readonly #options: BrowserAnswersOptions;

  constructor(options: BrowserAnswersOptions) {
    this.#options = options;
  }

  /** Gives undefined where the request is to be refused, and throws IngressError where it is to be refused with another error. */
  async find(refused: RefusedRequest): Promise<BrowserAnswer | undefined> {
    const { cors, mode, uriRecovery } = this.#options;
    const recovers = mode === "uri" && uriRecovery === "referer" && NOWHERE.has(refused.error.code);
    // Browsers follow no redirect of a WebSocket, and send neither a Referer nor a preflight for one.
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
      // The client reads what it would have without a Referer; the log tells that somebody may have guessed.
      throw new IngressError(error.code, error.message, { cause: `${thrown.code} for the page in Referer` });
    }
  }
}
