import { IngressError, type IngressErrorCode, toIngressError } from "../../errors.ts";
import { describeCause } from "../report/describe-cause.ts";

/** What a request goes through, in this order. */
export type StepName =
  "request" | "form" | "body" | "list" | "sandbox" | "access" | "policy" | "ready" | "address" | "limits";

/** What became of one step. */
export interface ExplainStep {
  readonly name: StepName;
  /** `unknown`: an earlier step left nothing to look at, or only a running instance could tell. */
  readonly outcome: "ok" | "refused" | "unknown";
  /** The code of the refusal; docs/errors.md. */
  readonly code?: IngressErrorCode | undefined;
  /** One sentence for an operator. No token, signature, path or query is in it. */
  readonly text: string;
}

/** The steps of one request. The first refusal is what its client would get; the steps behind it are looked at all the same. */
export class Steps {
  readonly list: ExplainStep[] = [];
  #refusal: IngressError | undefined;

  /** The first refusal; undefined: there was none so far. */
  get refusal(): IngressError | undefined {
    return this.#refusal;
  }

  ok(name: StepName, text: string): void {
    this.list.push({ name, outcome: "ok", text });
  }

  unknown(name: StepName, text: string): void {
    this.list.push({ name, outcome: "unknown", text });
  }

  /** @param text Default: the message that a client would read, and the cause where the log would have one. */
  refuse(name: StepName, error: IngressError, text?: string): void {
    this.#refusal ??= error;
    const cause = describeCause(error);
    const told = text ?? (cause === undefined ? error.message : `${error.message}: ${cause}`);
    this.list.push({ name, outcome: "refused", code: error.code, text: told });
  }

  /** What `run` gives; undefined where it throws, which is a refusal. */
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
