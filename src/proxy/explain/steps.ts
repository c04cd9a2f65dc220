import { IngressError, type IngressErrorCode, toIngressError } from "../../errors.ts";
import { describeCause } from "../report/describe-cause.ts";

/** The steps of a request, in this order. */
export type StepName =
  "request" | "form" | "body" | "list" | "sandbox" | "access" | "policy" | "ready" | "address" | "limits";

/** The result of one step. */
export interface ExplainStep {
  readonly name: StepName;
  /**
   * - `waits`: the request would wait here before it goes on
   * - `unknown`: an earlier step left nothing to check, or only a running ingress could tell
   */
  readonly outcome: "ok" | "waits" | "refused" | "unknown";
  /** The code of the refusal; docs/errors.md. */
  readonly code?: IngressErrorCode | undefined;
  /** One sentence for an operator. It contains no token, signature, path or query. */
  readonly text: string;
}

/** The steps of one request. Its client would get the first refusal. The later steps are checked anyway. */
export class Steps {
  readonly list: ExplainStep[] = [];
  #refusal: IngressError | undefined;

  /** The first refusal; undefined: there is none yet. */
  get refusal(): IngressError | undefined {
    return this.#refusal;
  }

  ok(name: StepName, text: string): void {
    this.list.push({ name, outcome: "ok", text });
  }

  waits(name: StepName, text: string): void {
    this.list.push({ name, outcome: "waits", text });
  }

  unknown(name: StepName, text: string): void {
    this.list.push({ name, outcome: "unknown", text });
  }

  /** @param text Default: the message for the client, and the cause if the log would contain one. */
  refuse(name: StepName, error: IngressError, text?: string): void {
    this.#refusal ??= error;
    const cause = describeCause(error);
    const told = text ?? (cause === undefined ? error.message : `${error.message}: ${cause}`);
    this.list.push({ name, outcome: "refused", code: error.code, text: told });
  }

  /** Runs a step and returns its result; undefined if it throws, which is a refusal. */
  async try<T>(name: StepName, run: () => T | Promise<T>, describe?: (code: IngressErrorCode) => string | undefined) {
    try {
      return await run();
    } catch (thrown) {
      const error = toIngressError(thrown);
      this.refuse(name, error, describe?.(error.code));
      return undefined;
    }
  }
}
