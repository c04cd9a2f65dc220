import type { AccessChecker } from "../../access/request.ts";
import type { Clock } from "../../clock.ts";
import { IngressError } from "../../errors.ts";
import { parseRoute } from "../../route/parse-route.ts";
import type { Route, RouteMode } from "../../route/route.ts";
import { createPacer } from "../../sandbox/pacer.ts";
import { limitFor } from "../../sandbox/policy.ts";
import { endpointFor, type SandboxProvider, type SandboxRecord } from "../../sandbox/provider.ts";
import type { Admission } from "../exchange/admission.ts";
import type { PolicyGate } from "../exchange/policy-gate.ts";
import { ExchangeShare } from "../exchange/share.ts";
import { checkMethod, isReading, READINESS_PATH, STATUS_PATH } from "../handler.ts";
import { describePolicy, describePolicyRefusal } from "./policy-texts.ts";
import { notReadyError } from "../hold/hold-room.ts";
import type { Holds } from "../hold/holds.ts";
import type { ClientAddress, ResolveClientAddress } from "../request/client-address.ts";
import { checkRequestFraming } from "../request/framing.ts";
import { checkConnectionOptions, type HeaderSnapshot } from "../request/headers.ts";
import { checkLoop, LOOP_HEADER } from "../request/loop-guard.ts";
import { collapseLeadingSlashes, parseHost, parseRequestTarget } from "../request/target.ts";
import { checkHandshake, isWebSocketUpgrade } from "../websocket/handshake.ts";
import { describeRoute, type Explanation } from "./explanation.ts";
import { findNearestNames } from "./nearest-names.ts";
import type { AskedRequest } from "./question.ts";
import {
  describeAccessRefusal,
  describeExpiry,
  describeGrant,
  describeMethod,
  FORM_TEXTS,
  ofLimit,
} from "./step-texts.ts";
import { Steps } from "./steps.ts";
import { type ExplainedWait, foreseeWait, type WaitOutlook } from "./waits.ts";

/** Milliseconds after which the search for similar names makes room for requests. */
const SEARCH_SLICE_MS = 2;

/** The parts that an explanation needs: those of the handler itself. */
export interface ExplainContext {
  readonly mode: RouteMode;
  /** `--max-body-size`, bytes; 0: no limit. */
  readonly maxBodyBytes: number;
  readonly clock: Clock;
  readonly provider: SandboxProvider;
  readonly access: AccessChecker;
  readonly policies: PolicyGate;
  readonly resolveClientAddress: ResolveClientAddress;
  readonly ensureSynced: () => Promise<void> | undefined;
  /** Returns `address:port` for the `host:port` of a record. */
  readonly locate: (hostPort: string) => string | Promise<string>;
  /** What is open now; missing: this process does not serve requests. */
  readonly limits?: ExplainLimits;
}

export interface ExplainLimits {
  readonly admission: Admission;
  /** The open requests of the sandbox; undefined: nothing is open. */
  readonly shareOf: (record: SandboxRecord) => ExchangeShare | undefined;
  /** All open requests and WebSockets. */
  readonly open: () => number;
  readonly maxRequests: number;
  readonly maxRequestsPerSandbox: number;
  readonly holds: Holds;
}

/**
 * Says step by step what the proxy would do with a request, using the proxy's own functions. Nothing is sent, woken,
 * counted as use, or logged. A signature that is checked here counts as a guess like any other.
 *
 * @param peer The address of the asker, to whom guesses are counted.
 */
export function explainRequest(asked: AskedRequest, peer: string, context: ExplainContext): Promise<Explanation> {
  return new Explainer(context).explain(asked, peer);
}

class Explainer {
  readonly #context: ExplainContext;
  readonly #steps = new Steps();
  #route: Route | undefined;
  #record: SandboxRecord | undefined;
  #nearest: readonly string[] | undefined;
  #bodyLength: number | undefined;
  /** As it would be forwarded; undefined: access was refused. */
  #path: string | undefined;
  #wait: ExplainedWait | undefined;

  constructor(context: ExplainContext) {
    this.#context = context;
  }

  async explain(asked: AskedRequest, peer: string): Promise<Explanation> {
    const seen: HeaderSnapshot = asked.headers.toJSON();
    const path = await this.#checkRequest(asked, seen);
    const isOwn = path === STATUS_PATH || path === READINESS_PATH;
    if (isOwn && isReading(asked.method) && this.#steps.refusal === undefined) {
      this.#steps.unknown("form", `the ingress answers ${path} itself, for every sandbox`);
      return this.#conclude({ status: 200 });
    }
    await this.#checkForm(asked, seen, path);
    await this.#checkBody(asked, seen);
    await this.#findSandbox();
    const address = this.#context.resolveClientAddress(peer, seen["x-forwarded-for"]);
    await this.#checkAccess(seen, address);
    await this.#checkPolicy(asked.method, seen, address);
    await this.#checkReady(asked, seen);
    await this.#checkLimits();
    return this.#conclude();
  }

  #conclude(answer: { readonly status?: number } = {}): Explanation {
    const { refusal, list } = this.#steps;
    const isWhole = this.#record !== undefined && refusal === undefined;
    return {
      forwarded: isWhole,
      wait: isWhole ? this.#wait : undefined,
      status: refusal?.status ?? answer.status,
      code: refusal?.code,
      steps: list,
      route: this.#route === undefined ? undefined : describeRoute(this.#route),
      record: this.#record,
      nearest: this.#nearest,
    };
  }

  #checkRequest({ method, url }: AskedRequest, seen: HeaderSnapshot): Promise<string | undefined> {
    return this.#steps.try("request", () => {
      checkMethod(method);
      const target = parseRequestTarget(url);
      checkConnectionOptions(seen);
      checkLoop(seen[LOOP_HEADER]);
      const what = isWebSocketUpgrade(method, seen) ? "a WebSocket" : "a request";
      this.#steps.ok("request", `${what} with ${describeMethod(method)} and ${Object.keys(seen).length} headers`);
      return target.path;
    });
  }

  async #checkForm({ headers }: AskedRequest, seen: HeaderSnapshot, path: string | undefined): Promise<void> {
    if (path === undefined) return this.#steps.unknown("form", "the request was refused before its route was read");
    const { mode } = this.#context;
    this.#route = await this.#steps.try("form", () =>
      parseRoute({ path, headers, host: parseHost(seen["host"]) }, mode),
    );
    if (this.#route === undefined) return;
    const { form, sandboxId, port, signature } = this.#route;
    const signed = signature === undefined ? "" : `, signed until ${describeExpiry(signature.expiresB36)}`;
    this.#steps.ok("form", `${FORM_TEXTS[form]} names sandbox ${sandboxId}, port ${port}${signed}`);
  }

  async #checkBody({ method }: AskedRequest, seen: HeaderSnapshot): Promise<void> {
    await this.#steps.try("body", () => {
      const bytes = checkRequestFraming(method, seen, this.#context.maxBodyBytes);
      this.#bodyLength = bytes;
      if (isWebSocketUpgrade(method, seen)) checkHandshake(seen);
      this.#steps.ok("body", bytes === 0 ? "no body" : `a body of ${bytes ?? "unknown"} bytes`);
    });
  }

  async #findSandbox(): Promise<void> {
    const { provider, ensureSynced, clock } = this.#context;
    await this.#steps.try("list", async () => {
      await ensureSynced();
      const { ready, notReady, ambiguous } = provider.counts();
      const { ageMs, fault } = provider.status();
      const age = ageMs < 1_000 ? "up to date" : `${Math.round(ageMs / 1_000)} s old`;
      const broken = fault === undefined ? "" : `; the watch is broken, so changes are not seen: ${fault}`;
      this.#steps.ok("list", `${ready + notReady + ambiguous} sandboxes are known; the list is ${age}${broken}`);
    });
    if (this.#route === undefined) return this.#steps.unknown("sandbox", "no sandbox is named");
    const { sandboxId } = this.#route;
    const resolution = provider.resolve(sandboxId);
    switch (resolution.state) {
      case "found": {
        this.#record = resolution.record;
        const { name, namespace } = resolution.record;
        return this.#steps.ok("sandbox", `${sandboxId} is ${name} in namespace ${namespace}`);
      }
      case "ambiguous":
        return this.#steps.refuse(
          "sandbox",
          new IngressError("sandbox_ambiguous"),
          `${sandboxId} can mean sandboxes in several namespaces`,
        );
      case "not-found": {
        const pacer = createPacer(clock, { sliceMs: SEARCH_SLICE_MS });
        this.#nearest = await pacer.run(findNearestNames(sandboxId, provider.view.records()));
        const near = this.#nearest.length === 0 ? "no name is similar" : `similar names: ${this.#nearest.join(", ")}`;
        const error = new IngressError("sandbox_not_found");
        return this.#steps.refuse("sandbox", error, `there is no sandbox ${sandboxId}; ${near}`);
      }
    }
  }

  async #checkAccess(seen: HeaderSnapshot, address: ClientAddress): Promise<void> {
    const [route, record] = [this.#route, this.#record];
    if (route === undefined || record === undefined) return this.#steps.unknown("access", "no sandbox is found");
    const { access, clock } = this.#context;
    const expires = route.signature === undefined ? "" : describeExpiry(route.signature.expiresB36);
    await this.#steps.try(
      "access",
      () => {
        const admission = access.check({
          route,
          sandboxUid: record.uid,
          accessToken: record.accessToken,
          presentedToken: seen["opensandbox-secure-access"] ?? null,
          clientAddress: address.client,
          peerAddress: address.peer,
          nowMs: clock.now(),
        });
        this.#path = collapseLeadingSlashes(admission.path);
        this.#steps.ok("access", describeGrant(admission));
      },
      (code) => describeAccessRefusal(code, expires),
    );
  }

  async #checkPolicy(method: string, seen: HeaderSnapshot, { client }: ClientAddress): Promise<void> {
    const [route, record, bodyLength] = [this.#route, this.#record, this.#bodyLength];
    if (route === undefined || record === undefined) return this.#steps.unknown("policy", "no sandbox is found");
    const { policies, limits } = this.#context;
    const { port } = route;
    const fault = record.policy?.fault === undefined ? "" : `; ${record.policy.fault}`;
    await this.#steps.try(
      "policy",
      () => {
        policies.check(record, { port, method, origin: seen["origin"], clientAddress: client, bodyLength });
        policies.checkRate(record);
        this.#steps.ok("policy", `${describePolicy(record, limits !== undefined)}${fault}`);
      },
      (code) => `${describePolicyRefusal(code, { port, client }) ?? code}${fault}`,
    );
  }

  async #checkReady({ method, headers }: AskedRequest, seen: HeaderSnapshot): Promise<void> {
    const [route, record, path] = [this.#route, this.#record, this.#path];
    if (route === undefined || record === undefined) {
      this.#steps.unknown("ready", "no sandbox is found");
      return this.#steps.unknown("address", "no sandbox is found");
    }
    const { limits } = this.#context;
    const hostPort = endpointFor(record, route.port);
    const purpose = seen["sec-purpose"] ?? seen["purpose"];
    const waiter = path === undefined ? undefined : { method, headers, path, purpose };
    const outlook = record.ready && hostPort !== undefined ? undefined : foreseeWait(record, limits?.holds, waiter);
    this.#wait = outlook?.wait;
    // A process that does not serve has only just begun to watch.
    const isKnown = record.sinceMs !== undefined && limits !== undefined;
    const since = !isKnown ? "" : `, seen like this since ${new Date(record.sinceMs).toISOString()}`;
    if (record.ready) this.#steps.ok("ready", `the sandbox is ready${since}`);
    else this.#tellWait("ready", `${notReadyError(record).message}${since}`, outlook);
    if (hostPort === undefined) {
      const ports = record.ports === undefined ? "" : `; it names ports ${[...record.ports.keys()].join(", ")}`;
      return this.#tellWait("address", `no address is known for port ${route.port}${ports}`, outlook, {
        isTold: !record.ready,
      });
    }
    await this.#steps.try("address", async () => {
      const address = await this.#context.locate(hostPort);
      this.#steps.ok("address", address === hostPort ? address : `${hostPort} is ${address}`);
    });
  }

  /** Tells that a step refuses a request, or lets it wait. `isTold`: an earlier step has told how. */
  #tellWait(
    name: "ready" | "address",
    what: string,
    outlook: WaitOutlook | undefined,
    { isTold = false }: { readonly isTold?: boolean } = {},
  ): void {
    if (outlook === undefined) return;
    const text = [what, ...(isTold ? [] : outlook.remarks)].join("; ");
    if (outlook.wait === undefined) this.#steps.refuse(name, outlook.error, text);
    else this.#steps.waits(name, text);
  }

  async #checkLimits(): Promise<void> {
    const { limits, clock } = this.#context;
    const record = this.#record;
    if (limits === undefined) return this.#steps.unknown("limits", "only a running ingress knows its open requests");
    if (record === undefined) return this.#steps.unknown("limits", "no sandbox is found");
    const share = limits.shareOf(record) ?? new ExchangeShare();
    await this.#steps.try("limits", () => {
      const ownMax = record.policy?.maxRequests;
      limits.admission.check({ sandbox: share, client: undefined, ownMax, nowMs: clock.monotonic() });
      const own = ofLimit(share.requests, limitFor(limits.maxRequestsPerSandbox, ownMax));
      this.#steps.ok("limits", `open: ${own} of this sandbox, ${ofLimit(limits.open(), limits.maxRequests)} in all`);
    });
  }
}
